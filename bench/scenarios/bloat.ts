import type pg from 'pg'
import { countBrokenInvariants, POSTGRES_SETTINGS, prepareDatabase, startPostgres } from '../database.ts'
import { NEEDS_WRK, sendLoad } from '../load.ts'
import { startService } from '../processes.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

/** Many requests update the same row of the first two; each reservation is updated by its own commit. */
const TABLES = ['quota_periods', 'scopes', 'reservations']

export const scenario = defineScenario({
  help: `Whether the tables that every request updates stay small. Reserves and commits without a pause for 1,000 tenants x 10 users,
all of which update the platform's balance. Shows after every minute the size of the tables whose rows are updated again and
again, how many of their updates were HOT (in the same page, without the indexes), and how many dead rows wait for
autovacuum, which has Postgres's default settings.
${NEEDS_WRK}`,
  options: { minutes: [20, 'minutes'] },
  async run(stack, options) {
    const { databaseUrl } = await startPostgres(stack, POSTGRES_SETTINGS)
    const pool = await prepareDatabase(stack, databaseUrl)
    const { url } = await startService(stack, { DATABASE_URL: databaseUrl })
    const minutes: string[] = []
    for (let minute = 1; minute <= options.minutes; minute += 1) {
      const answers = await sendLoad(url, { load: 'pairs', connections: 64, seconds: 60 })
      const line = `minute ${minute}: ${answers.requestsPerSecond.toFixed(0)} requests/s, p99 ${answers.p99Ms.toFixed(0)} ms, ${answers.failed} failed`
      minutes.push([line, ...(await describeTables(pool))].join('\n  '))
      say(minutes.at(-1)!)
    }
    return { minutes, brokenInvariants: await countBrokenInvariants(pool) }
  },
  print: ({ minutes, brokenInvariants }) => [...minutes, `broken invariants: ${brokenInvariants}`],
})

async function describeTables(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ line: string }>(
    `select format('%s: %s and %s of indexes, %s rows, %s dead, %s %% of %s updates HOT, %s autovacuums', relname,
              pg_size_pretty(pg_relation_size(relid)), pg_size_pretty(pg_indexes_size(relid)), n_live_tup, n_dead_tup,
              round(100.0 * n_tup_hot_upd / nullif(n_tup_upd, 0), 2), n_tup_upd, autovacuum_count) as line
     from pg_stat_user_tables where schemaname = 'copilot_internal' and relname = any ($1)
     order by array_position($1, relname::text)`,
    [TABLES],
  )
  return rows.map(({ line }) => line)
}
