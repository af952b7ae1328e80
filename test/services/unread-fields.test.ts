import t from 'tap'
import type { UnreadField } from '../../src/db/alerts/events.ts'
import { Reading } from '../../src/domain/usage/index.ts'
import { unreadEmitter } from '../../src/services/costs/unread-fields.ts'

function reading(...pointers: string[]): Reading {
  const made = new Reading()
  for (const pointer of pointers) made.noteUnread(pointer, 'is not known')
  made.noteAssumed('/assumed', 'was priced by an assumption')
  made.noteDifference('/total', 'differs')
  return made
}

t.test('an unread field is emitted once an hour for each principal, an assumption never', async (t) => {
  const emitted: UnreadField[] = []
  const emit = unreadEmitter(async (field) => emitted.push(field))
  for (const principal of ['key:a', 'key:a', 'key:b']) await emit(principal, 'acme', reading('/odd 💰', '/odd 💰'))
  t.same(emitted, [
    { principal: 'key:a', provider: 'acme', field: '/odd???' },
    { principal: 'key:b', provider: 'acme', field: '/odd???' },
  ])
})

t.test('a commit is answered even if its event cannot be written, and the next commit tries again', async (t) => {
  let asked = 0
  const emit = unreadEmitter(async () => {
    asked += 1
    throw new Error('Postgres is away')
  })
  for (let time = 0; time < 2; time += 1) await emit('key:a', null, reading('/odd'))
  t.equal(asked, 2)
})
