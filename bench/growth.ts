// Whether a full database is as fast as an empty one: npm run bench:growth. It prints; it never fails for a time.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { uuidv7 } from 'uuidv7'
import { connect } from '../src/db/pool/connection.ts'
import { migrateDown, migrateUp } from '../src/db/migrate/migrations.ts'
import { reserveSpend, type ReserveItem } from '../src/db/reservations/reserve-spend.ts'
import { rollUp } from '../src/services/costs/roll-up.ts'
import { sendLoad } from './load.ts'
import { startService, type Running } from './processes.ts'
import { KEY, makeQuotas, TENANTS, USERS_PER_TENANT } from './setup.ts'
import { median, onStage, say, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:growth -- [options]

Two databases on one embedded Postgres that flushes to disk, a service on each: one as it begins, one full. The same loads go
to both in turn, over the same ${TENANTS} tenants; what is printed is the full one's share of the other. Then the migrations go
down and up over the full one.

Options
  --quotas N   tenants with a default quota of their own beside those (default 1000000)
  --settled N  settled reservations (default 10000000)
  --records N  cost records, rolled up (default 10000000)
  --holds N    open holds (default 100000)
  --rounds N   rounds of each load (default 5)
  --seconds N  seconds of each load (default 4)
  --help       this text

The defaults take about half an hour and 20 GB.
`

const { values } = parseArgs({
  options: {
    quotas: { type: 'string', default: '1000000' },
    settled: { type: 'string', default: '10000000' },
    records: { type: 'string', default: '10000000' },
    holds: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    help: { type: 'boolean', default: false },
  },
})

/** Rows a statement of a fill. */
const STEP = 100_000
/** Scopes that are made at first sight at once. */
const SCOPES_STEP = 5_000
const HOLDS_STEP = 250
/** Before the first round, so that both processes are compiled alike. */
const WARM_SECONDS = 6
const LOADS = ['reserve', 'hot', 'pairs'] as const

type Side = { name: 'begin' | 'full'; url: string; pool: pg.Pool }

if (values.help) process.stdout.write(help)
else await onStage(bench)

async function bench(stack: AsyncDisposableStack): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`)
  const postgres = await startPostgres(stack, { shared_buffers: '2GB', max_wal_size: '8GB' })
  const full = await openSide(stack, 'full', postgres.databaseUrl)
  await full.pool.query('create database beginning')
  const beginning = new URL(postgres.databaseUrl)
  beginning.pathname = '/beginning'
  const begin = await openSide(stack, 'begin', beginning.href)
  await fill(full)
  await measure(stack, begin, full)
  for (const { name, pool } of [begin, full]) {
    const { rows } = await pool.query('select * from copilot_internal.check_integrity()')
    console.log(`broken invariants, ${name}: ${rows.length}`)
  }
  await migrate(full)
}

async function openSide(stack: AsyncDisposableStack, name: Side['name'], url: string): Promise<Side> {
  await migrateUp(url, () => {})
  // Seeds prices and default quotas.
  await (await start(url)).stop()
  const pool = new pg.Pool({ connectionString: url, max: 2 })
  // Postgres is stopped while a connection is still closing.
  pool.on('error', () => {})
  stack.defer(() => pool.end())
  await makeQuotas(pool)
  return { name, url, pool }
}

function start(url: string): Promise<Running> {
  return startService({ DATABASE_URL: url, PURSER_ADMIN_KEY: KEY, PURSER_RATE_LIMIT_DECISIONS: '100000000' })
}

async function fill({ url, pool }: Side): Promise<void> {
  await inSteps('quotas', Number(values.quotas), SCOPES_STEP, (from, to) =>
    pool.query(
      `select copilot_internal.prepare_scopes(array_agg('llm'::copilot_internal.resource_type), array_agg('g-' || n), array_agg(''::text), now())
       from generate_series($1::integer, $2::integer) n`,
      [from, to - 1],
    ),
  )
  const settled = Number(values.settled)
  await inSteps('settled reservations', settled, STEP, (from, to) =>
    pool.query(
      `insert into copilot_internal.reservations (reservation_id, status, resource_type, tenant_id, user_id, principal, idempotency_key,
         request_hash, provider, model, estimate, reserved_usd, on_expiry, created_at, granted_at, expires_at, quota_period_ids,
         periods_end_at, settled_at, released_usd, release_reason)
       select copilot_internal.uuid_v7(at), 'released', 'llm', 't-' || 1 + n % $4::integer, 'u-' || 1 + n % $5::integer, 'bench', 'old-' || n,
              sha256(n::text::bytea), 'openai', 'gpt-6.1-sol', '{"input_tokens": 1200, "max_output_tokens": 200}', 0.0043, 'release', at, at,
              at + interval '2 minutes', '{}', at + interval '1 day', at + interval '3 seconds', 0.0043, 'cancelled'
       from generate_series($1::integer, $2::integer) n
       cross join lateral (select now() - interval '25 days' + n * (interval '24 days' / $3::integer) as at) t`,
      [from, to - 1, settled, TENANTS, USERS_PER_TENANT],
    ),
  )
  const db = connect(url, { statementMs: 600_000 })
  const records = Number(values.records)
  for (let month = 0; month < 3; month += 1) {
    await pool.query(
      `select copilot_internal.ensure_cost_partitions((date_trunc('month', now()) - $1::integer * interval '1 month')::date)`,
      [month],
    )
  }
  await inSteps('cost records', records, STEP, async (from, to) => {
    await pool.query(
      `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, conversation_id, provider, model, usage,
         input_tokens, output_tokens, total_cost_usd, quota_period_ids, occurred_at, booked_at, recorded_at)
       select copilot_internal.uuid_v7(at), 't-' || 1 + n % $4::integer, 'u-' || 1 + n % $5::integer, 'c-' || n / 5, 'openai', 'm-' || n % 10,
              '{"input_tokens": 1200, "output_tokens": 300}', 1200, 300, (n % 9973) * 0.000001, '{}', at, at, at
       from generate_series($1::integer, $2::integer) n
       cross join lateral (select now() - interval '50 days' + n * (interval '15 days' / $3::integer) as at) t`,
      [from, to - 1, records, TENANTS, USERS_PER_TENANT],
    )
    await rollUp({ db }, new AbortController().signal)
  })
  await inSteps('open holds', Number(values.holds), HOLDS_STEP, (from, to) =>
    reserveSpend(
      db,
      Array.from({ length: to - from }, (_, i) => holdOf(from + i)),
      'enforce',
    ),
  )
  await db.destroy()
  say('vacuum analyze')
  await pool.query('vacuum analyze')
  const { rows } = await pool.query<{ size: string }>(
    'select pg_size_pretty(pg_database_size(current_database())) as size',
  )
  console.log(`the full database has ${rows[0]!.size}`)
}

function holdOf(n: number): ReserveItem {
  return {
    reservation_id: uuidv7(),
    resource_type: 'llm',
    tenant_id: `t-${1 + (n % TENANTS)}`,
    user_id: `u-${1 + (n % USERS_PER_TENANT)}`,
    conversation_id: null,
    path_id: null,
    labels: {},
    principal: 'bench',
    idempotency_key: `open-${n}`,
    request_hash: '\\x00',
    estimate: { estimated_cost_usd: '0.0043' },
    price_id: null,
    amount_usd: '0.0043',
    fixed_usd: '0',
    per_unit_usd: '0',
    caps_name: null,
    on_expiry: 'release',
    ttl_seconds: 86_400,
    is_free: false,
  }
}

async function measure(stack: AsyncDisposableStack, ...sides: [Side, Side]): Promise<void> {
  const running = await Promise.all(sides.map(({ url }) => start(url)))
  for (const one of running) stack.defer(() => one.stop())
  for (const load of LOADS) {
    const rounds: [begin: number, full: number][] = []
    for (let round = 0; round <= Number(values.rounds); round += 1) {
      say(`${load}, ${round === 0 ? 'warming up' : `round ${round} of ${values.rounds}`}`)
      const order = round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)
      const both = [0, 0] as [number, number]
      for (const side of order) both[side] = await sendTo(running[side]!, load, round)
      if (round > 0) rounds.push(both)
    }
    const perSecond = (side: 0 | 1) => median(rounds.map((both) => both[side])).toFixed(0)
    const shares = rounds.map(([begin, full]) => full / begin)
    console.log(
      `${load}: ${perSecond(0)} requests/s as it begins, ${perSecond(1)} full; ` +
        `${median(shares).toFixed(2)} of it (${shares.map((share) => share.toFixed(2)).join(', ')})`,
    )
  }
  await Promise.all(running.map((one) => one.stop()))
}

async function sendTo({ url }: Running, load: (typeof LOADS)[number], round: number): Promise<number> {
  const answers = await sendLoad({
    url,
    load: load === 'hot' ? 'reserve' : load,
    connections: 64,
    seconds: round === 0 ? WARM_SECONDS : Number(values.seconds),
    key: KEY,
    tenants: load === 'hot' ? 1 : TENANTS,
    usersPerTenant: load === 'hot' ? 1 : USERS_PER_TENANT,
    run: `${round}-${load}-${process.pid}`,
  })
  if (answers.failed > 0) console.log(`${load}: ${answers.failed} failed`)
  return answers.requestsPerSecond
}

/** The newest migration down and up again, then all of them, with the data that each drops. */
async function migrate({ url }: Side): Promise<void> {
  const steps: [string, () => Promise<unknown>][] = [
    ['the newest migration down', () => migrateDown(url, () => {}, { steps: 1 })],
    ['and up', () => migrateUp(url, () => {})],
    ['all down', () => migrateDown(url, () => {}, { all: true })],
    ['all up', () => migrateUp(url, () => {})],
  ]
  for (const [name, run] of steps) {
    const begun = performance.now()
    await run()
    console.log(`${name}: ${((performance.now() - begun) / 1000).toFixed(1)} s`)
  }
}

async function inSteps(
  what: string,
  total: number,
  step: number,
  work: (from: number, to: number) => Promise<unknown>,
): Promise<void> {
  const begun = performance.now()
  let told = 0
  for (let from = 0; from < total; from += step) {
    const to = Math.min(from + step, total)
    await work(from, to)
    const seconds = (performance.now() - begun) / 1000
    if (seconds - told < 10 && to < total) continue
    told = seconds
    say(`${to} of ${total} ${what} after ${seconds.toFixed(0)} s`)
  }
}
