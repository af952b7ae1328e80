import t from 'tap'
import { epochMicros, readInstant } from '../../src/domain/instant.ts'

const READ: [spelled: string, read: string][] = [
  ['2026-11-24T23:59:59Z', '2026-11-24T23:59:59Z'],
  ['2026-11-24T23:59:59.0Z', '2026-11-24T23:59:59Z'],
  ['2026-11-24T23:59:59.50Z', '2026-11-24T23:59:59.5Z'],
  ['2026-11-24T23:59:59.9999999Z', '2026-11-24T23:59:59.999999Z'],
  ['2026-11-24T23:59:59.999999999Z', '2026-11-24T23:59:59.999999Z'],
  ['2026-11-24T23:59:59.0000009Z', '2026-11-24T23:59:59Z'],
  ['2026-11-24t23:59:59.123456z', '2026-11-24T23:59:59.123456Z'],
  ['2026-11-25T01:29:59.9999999+01:30', '2026-11-24T23:59:59.999999Z'],
  ['2026-12-31T20:00:00.0000001-04:00', '2027-01-01T00:00:00Z'],
  ['1000-01-01T00:00:00+14:00', '0999-12-31T10:00:00Z'],
  ['1969-12-31T23:59:59.9999999Z', '1969-12-31T23:59:59.999999Z'],
]

for (const [spelled, read] of READ) {
  t.test(`an instant is read in UTC and cut to microseconds: ${spelled}`, (t) => {
    t.equal(readInstant(spelled), read)
    t.equal(readInstant(read), read)
    t.equal(epochMicros(read), epochMicros(spelled.toUpperCase()))
    t.end()
  })
}

t.test('a text that is not an instant is an error', (t) => {
  for (const text of ['', '2026-11-24', '2026-11-24T00:00:00', '2026-11-24T24:61:00Z', '2026-11-24T23:59:60Z', 'now'])
    t.throws(() => readInstant(text), RangeError, text)
  t.end()
})
