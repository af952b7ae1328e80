import { Readable } from 'node:stream'
import t from 'tap'
import { readTap } from './tap-result.ts'

const read = (tap: string) => readTap(Readable.from([tap]))

t.test('the outermost tests of a file are counted and named', async (t) => {
  const result = await read(`TAP version 14
# Subtest: first
    ok 1 - should be equal
    ok 2 - should be equal
    1..2
ok 1 - first # time=5.057ms
ok 2 - second
1..2
# { total: 3, pass: 3 }
# time=13.5ms`)
  t.same(result, { passed: 2, failed: 0, failures: [], names: ['first', 'second'], comments: [] })
})

t.test('a failed test is counted once and described by what failed inside it', async (t) => {
  const { passed, failed, failures } = await read(`# Subtest: first
    not ok 1 - should be equal
      ---
      diff: |
        -1
        +2
      source: t.equal(1, 2)
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
1..3`)
  t.match({ passed, failed }, { passed: 1, failed: 2 })
  t.equal(failures.length, 2)
  t.match(failures[0], /^first > should be equal\n.*-1\n.*\+2/s)
  t.match(failures[1], 'why: never')
  t.notMatch(failures.join('\n'), 'source')
})

t.test('a file that crashed or has no tests is a failure', async (t) => {
  t.match(await read('1..0 # no tests found'), { passed: 0, failed: 1 })
  t.match(await read(''), { passed: 0, failed: 1, failures: [/the file failed as a whole/] })
  t.match(await read('ok 1 - first'), { passed: 1, failed: 1 }, 'the plan is missing')
  t.match(await read('ok 1 - first\n1..2'), { passed: 1, failed: 1 }, 'a planned test is missing')
})

t.test('a skipped test is a failure at any depth', async (t) => {
  t.match(await read('ok 1 - first # SKIP\n1..1'), { passed: 0, failed: 1, failures: [/skipped/] })
  t.match(await read('not ok 1 - first # TODO later\n1..1'), { passed: 0, failed: 1, failures: [/later/] })
  t.match(await read('    ok 1 - inside # SKIP no reason\n    1..1\nok 1 - first\n1..1'), { failed: 1 })
  t.match(await read('1..0 # SKIP'), { passed: 0, failed: 1 })
})

t.test('the seeds that tests print are kept', async (t) => {
  const { comments } = await read('# Subtest: first\n    # seed 7\n    ok 1\n    1..1\nok 1 - first\n1..1')
  t.same(comments, ['# seed 7'])
})

t.test('output that is cut off is a failure, and does not hang the run', async (t) => {
  const stream = new Readable({ read() {} })
  stream.push('ok 1 - first\n')
  const result = readTap(stream)
  setImmediate(() => stream.destroy())
  t.match(await result, { passed: 1, failed: 1 })
})
