import { sql } from 'kysely'
import t from 'tap'
import { connect } from '../../src/db/pool/connection.ts'
import { createDatabase } from '../helpers/database.ts'

const STATEMENT_MS = 1_000
const database = await createDatabase(t)
const db = connect(database.url, { connectionsMax: 1, statementMs: STATEMENT_MS })
t.teardown(() => db.destroy())

t.test('an answer that came in time is read, even if the process was busy until after the deadline', async (t) => {
  await sql`select 1`.execute(db)
  let answered = false
  const answer = sql<{ done: boolean }>`select pg_sleep(0.3) is not null as done`.execute(db)
  void answer.finally(() => (answered = true))
  // Waits until Postgres works on it. If a slow machine sees the answer first, the test shows nothing.
  while (!answered) {
    const { rowCount } = await database.pool.query(
      `select from pg_stat_activity where datname = current_database() and application_name = 'purser' and state = 'active'`,
    )
    if (rowCount === 1) break
  }
  // Blocks the process: neither the timer of the deadline nor the reading of the socket runs meanwhile.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * STATEMENT_MS)
  t.same((await answer).rows, [{ done: true }])
})
