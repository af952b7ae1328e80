import t from 'tap'
import { createTapCounter, type FileResult } from './tap-count.ts'

function count(tap: string): FileResult[] {
  return tap
    .split('\n')
    .map(createTapCounter())
    .filter((result) => result !== undefined)
}

t.test('the outermost tests of each file are counted', async (t) => {
  const tap = `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: first
        ok 1 - should be equal
        ok 2 - should be equal
        1..2
    ok 1 - first # time=5.057ms
    ok 2 - second
    1..2
ok 1 - test/a.test.ts # time=13.5ms
# Subtest: test/b.test.ts
    ok 1 - third
    1..1
ok 2 - test/b.test.ts # time=1ms`
  t.same(count(tap), [
    { file: 'test/a.test.ts', passed: 2, failed: 0, durationMs: 13.5, failures: [] },
    { file: 'test/b.test.ts', passed: 1, failed: 0, durationMs: 1, failures: [] },
  ])
})

t.test('a failed test is counted once and told with what failed inside', async (t) => {
  const tap = `    # Subtest: first
        not ok 1 - should be equal
          ---
          diff: |
            -1
            +2
          ...
        1..1
    not ok 1 - first # time=5ms
      ---
      source: t.test('first')
      ...
    not ok 2 - second
      ---
      why: never
      ...
    ok 3 - third
    1..3
not ok 1 - test/a.test.ts # time=6ms
  ---
  exitCode: 1
  ...`
  const [result] = count(tap)
  t.match(result, { passed: 1, failed: 2 })
  t.match(result?.failures.join('\n'), /-1\n.*\+2/)
  t.match(result?.failures.join('\n'), 'why: never')
  t.notMatch(result?.failures.join('\n'), /source|exitCode/)
})

t.test('a file that crashed or has no tests is a failure', async (t) => {
  t.match(count('    1..0 # no tests found\nnot ok 1 - test/a.test.ts # time=6ms'), [{ passed: 0, failed: 1 }])
  t.match(count('    ok 1 - first\nnot ok 1 - test/a.test.ts # time=6ms'), [{ passed: 1, failed: 1 }])
})

t.test('a skipped test is a failure at any depth', async (t) => {
  t.match(count('    ok 1 - first # SKIP\nok 1 - a'), [{ passed: 0, failed: 1 }])
  t.match(count('    not ok 1 - first # TODO later\nok 1 - a'), [{ passed: 0, failed: 1 }])
  t.match(count('        ok 1 - inside # SKIP no reason\n    ok 1 - first\nok 1 - a'), [{ failed: 1 }])
  t.match(count('ok 1 - test/a.test.ts # SKIP'), [{ passed: 0, failed: 1 }])
})
