import t from 'tap'
import { RETENTION_STATEMENT_MS } from '../../src/services/archives/retention.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const { pool } = database

/** Replaces a function by one that only records the statement_timeout with which the service calls it. */
async function spyOn(name: string, signature: string, nothing: string): Promise<void> {
  await pool.query(`
    create or replace function copilot_internal.${signature}
    language plpgsql security definer
    as $$
    begin
      insert into public.calls select '${name}', setting::integer from pg_settings where name = 'statement_timeout';
      ${nothing}
    end $$`)
}

t.test('the service lets jobs that read much run a statement for minutes', async (t) => {
  await pool.query('create table public.calls (name text, statement_ms integer)')
  await spyOn(
    'roll-up',
    'roll_up_tail(p_lines_max integer, p_from_block bigint, out lines integer, out block bigint)',
    'lines := 0; block := 0;',
  )
  await spyOn('retention', 'delete_settled(p_before timestamptz, p_rows_max integer) returns integer', 'return 0;')
  await spyOn(
    'integrity-watch',
    'check_integrity() returns table (invariant text, subject text, detail text)',
    'return;',
  )
  await startService(t, database.url)
  for (const name of ['roll-up', 'retention', 'integrity-watch']) {
    // Asks the queue to run the job now.
    await pool.query('select copilot_jobs.add_job($1)', [name])
    let calls: { statement_ms: number }[] = []
    while (calls.length === 0) {
      const { rows } = await pool.query('select statement_ms from public.calls where name = $1', [name])
      calls = rows
    }
    for (const { statement_ms: statementMs } of calls) t.equal(statementMs, RETENTION_STATEMENT_MS, name)
  }
})
