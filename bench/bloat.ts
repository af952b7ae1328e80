// Whether the rows that every request changes stay small: npm run bench:bloat. It prints; it never fails for a time.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { sendLoad } from './load.ts'
import { startService } from './processes.ts'
import { KEY, makeQuotas, TENANTS, USERS_PER_TENANT } from './setup.ts'
import { onStage, say, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:bloat -- [options]

Reserves and commits for ${TENANTS} tenants x ${USERS_PER_TENANT} users without a pause, all of which change the balance of the platform, and tells
after every minute how large the tables are whose rows are changed again and again, how many of their updates were HOT (in the
same page, without the indexes), and how many dead rows wait for autovacuum, which runs as Postgres sets it up.

Options
  --minutes N  minutes (default 20)
  --help       this text

It needs wrk: one on the PATH, or the package of Debian, which it unpacks into .cache/.
`

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '20' }, help: { type: 'boolean', default: false } },
})

/** Of their rows each is changed by many requests, or by its own commit. */
const TABLES = ['quota_periods', 'scopes', 'reservations']

if (values.help) process.stdout.write(help)
else await onStage(bench)

async function bench(stack: AsyncDisposableStack): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`)
  const { databaseUrl } = await startPostgres(stack, { shared_buffers: '512MB', max_wal_size: '4GB' })
  const service = await startService({
    DATABASE_URL: databaseUrl,
    PURSER_ADMIN_KEY: KEY,
    PURSER_RATE_LIMIT_DECISIONS: '100000000',
  })
  stack.defer(() => service.stop())
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 })
  stack.defer(() => pool.end())
  await makeQuotas(pool)
  for (let minute = 1; minute <= Number(values.minutes); minute += 1) {
    say(`minute ${minute} of ${values.minutes}`)
    const answers = await sendLoad({
      url: service.url,
      load: 'pairs',
      connections: 64,
      seconds: 60,
      key: KEY,
      tenants: TENANTS,
      usersPerTenant: USERS_PER_TENANT,
      run: `${minute}-${process.pid}`,
    })
    const figures = [`${answers.requestsPerSecond.toFixed(0)} requests/s, p99 ${answers.p99Ms.toFixed(0)} ms`]
    if (answers.failed > 0) figures.push(`${answers.failed} failed`)
    console.log([`minute ${minute}: ${figures.join(', ')}`, ...(await sizes(pool))].join('\n  '))
  }
  const { rows: broken } = await pool.query('select * from copilot_internal.check_integrity()')
  console.log(`broken invariants after the run: ${broken.length}`)
}

async function sizes(pool: pg.Pool): Promise<string[]> {
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
