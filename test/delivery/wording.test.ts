import t from 'tap'
import { wordingOf } from '../../src/delivery/wording.ts'
import { EventType } from '../../src/schemas/events.ts'

const worded = (type: string, data: Record<string, unknown> = {}) =>
  wordingOf({ id: '', type, timestamp: '2026-11-10T12:00:00Z', data })
const subjectOf = (type: string, data: Record<string, unknown>) => worded(type, data).subject

t.test('every event type has its own subject, and says what to do', async (t) => {
  for (const { const: type } of EventType.anyOf as { const: string }[]) {
    const { subject, advice } = worded(type)
    t.not(subject, `Purser: ${type}`, type)
    t.not(advice, '', type)
  }
})

t.test('unread usage names the place, or says that there is more', async (t) => {
  const data = { provider: 'acme', model: 'm', pointer: '/usage/*/tokens', reason: 'must be a whole number' }
  t.equal(
    subjectOf('usage.unreadable', data),
    'Purser: usage of acme m cannot be read at /usage/*/tokens: must be a whole number',
  )
  t.equal(
    subjectOf('usage.unreadable', { ...data, pointer: '', reason: 'is of no known form' }),
    'Purser: usage of acme m cannot be read: is of no known form',
  )
  t.equal(
    subjectOf('usage.unread', { provider: 'acme', field: '/usage/tokens' }),
    'Purser: usage of acme has a field that nothing reads: /usage/tokens',
  )
  const more = { principal: 'key:1', more_than: 50 }
  t.equal(
    subjectOf('usage.unreadable', more),
    'Purser: key:1 sent usage that cannot be read in more than 50 places today',
  )
  t.equal(subjectOf('usage.unread', more), 'Purser: key:1 sent more than 50 fields of usage that nothing reads today')
})
