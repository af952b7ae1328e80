import t from 'tap'
import { findExcess } from '../../src/domain/json-bounds.ts'

const MEMBERS_MAX = 5_000
/** A text long enough that its members are counted. */
const padded = (json: string) => `{"padding":"${'x'.repeat(2_000)}","value":${json}}`
const list = (length: number, member: string) => `[${Array.from({ length }, () => member).join()}]`
const names = (length: number) => `{${Array.from({ length }, (_, n) => `"k${n}":0`).join()}}`
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

t.test('each bound holds to the last member, level and character', async (t) => {
  const cases: [within: string, beyond: string, excess: RegExp][] = [
    [list(2_000, '0'), list(2_001, '0'), /more than 2000 members in one/],
    [list(2_000, '[]'), list(2_001, '[]'), /more than 2000 members in one/],
    [names(2_000), names(2_001), /more than 2000 members in one/],
    [list(5, list(998, '0')), list(5, list(999, '0')), /more than 5000 members in all/],
    [nested(31), nested(32), /deeper than 32 levels/],
    ['9'.repeat(100), '9'.repeat(101), /number of more than 100 characters/],
    [`-0.${'1'.repeat(94)}e-1`, `-0.${'1'.repeat(95)}e-1`, /number of more than 100 characters/],
  ]
  for (const [within, beyond, excess] of cases) {
    t.equal(findExcess(padded(within), MEMBERS_MAX), null, within.slice(0, 40))
    t.match(findExcess(padded(beyond), MEMBERS_MAX), excess, beyond.slice(0, 40))
    t.doesNotThrow(() => JSON.parse(padded(beyond)), 'the text is valid JSON')
  }
  const longNumbers = (count: number) => list(count / 500, list(500, '0.12345678901234'))
  t.equal(findExcess(longNumbers(5_000), 1e6), null)
  t.match(findExcess(longNumbers(5_500), 1e6), /more than 5000 numbers of 16 or more characters/)
})

t.test('brackets and numbers inside a string are not counted', async (t) => {
  for (const text of ['['.repeat(2_000), ','.repeat(2_000), '9'.repeat(2_000), '\\"['.repeat(100), '"[', '\\'])
    t.equal(findExcess(padded(JSON.stringify({ [text]: text })), MEMBERS_MAX), null, text.slice(0, 10))
})

t.test('a text that is not JSON passes the check', async (t) => {
  for (const text of ['"', '\\', '"\\', ']', '}}', '-', '1e'])
    t.equal(findExcess(text.padStart(3_000, ' '), MEMBERS_MAX), null, text)
  t.match(findExcess(`]]${nested(40)}`.padEnd(3_000, ' '), MEMBERS_MAX), /deeper than 32/)
})
