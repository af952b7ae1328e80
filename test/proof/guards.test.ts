import t from 'tap'
import { GUARDS } from './guard-list.ts'
import { without } from './without.ts'

t.test('each guard that npm run guards removes is in the code exactly once', (t) => {
  for (const guard of GUARDS) t.doesNotThrow(() => without(guard), guard.name)
  t.end()
})
