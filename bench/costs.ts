// What questions about costs take, beside the plain sum over the records: npm run bench:costs. It prints; it never fails for a time.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { uuidv7 } from 'uuidv7'
import { commitSpend } from '../src/db/reservations/commit-spend.ts'
import { connect, readReport } from '../src/db/pool/connection.ts'
import { sumCosts, type CostQuestion } from '../src/db/costs/costs.ts'
import { migrateUp } from '../src/db/migrate/migrations.ts'
import { reserveSpend, type ReserveItem } from '../src/db/reservations/reserve-spend.ts'
import { parseGrouping } from '../src/domain/grouping.ts'
import { spelledInstant } from '../src/domain/instant.ts'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { exportCosts } from '../src/services/costs/export-costs.ts'
import { rollUp } from '../src/services/costs/roll-up.ts'
import { median, quantile } from './stage.ts'

const DAYS = 90
const TENANTS = 500
const ROUNDS = 40
const PLAIN_ROUNDS = 5
const LOAD = 100_000
/** Commits of a transaction, and how many of these with the tail and without it, in turn. */
const BATCH = 20
const BATCHES = 100
const TURNS = 6

const help = `Usage: npm run bench:costs -- [options]

Fills ${DAYS} days of ${TENANTS} tenants, asks about costs as the service does, and beside it sums up the records by hand-written SQL;
then what roll-ups add to booking, and how much memory an export takes. On an embedded Postgres, which is gone afterwards
unless a folder keeps it.

Options
  --records N  records (default 1000000, which takes some minutes; 10000000 take about half an hour and 20 GB)
  --data DIR   a folder that keeps the database; the next run with it fills nothing. It should be for this alone
  --help       this text
`

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '1000000' },
    data: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
const records = Number(values.records)

const dataDir = values.data ?? mkdtempSync(join(tmpdir(), 'purser-bench-costs-'))
const postgres = await startEmbeddedPostgres({ dataDir })
const pool = new pg.Pool({ connectionString: postgres.databaseUrl, max: 2 })
// As the service works.
const db = connect(postgres.databaseUrl, { statementMs: 60_000, roles: { service: true, reader: true } })
try {
  await migrateUp(postgres.databaseUrl, () => {})
  console.log(`${cpus().length} cores, ${cpus()[0]?.model}; ${records} records over ${DAYS} days, ${TENANTS} tenants`)
  if ((await count('copilot_internal.cost_rollups')) === 0) await fill()
  const spanOf = (from: string, to: string) => ({
    fromMicros: BigInt(Date.parse(from)) * 1_000n,
    toMicros: BigInt(Date.parse(to)) * 1_000n,
  })
  const october = spanOf('2026-10-01T00:00:00Z', '2026-11-01T00:00:00Z')
  const one = { filter: { tenantId: 't-7' } }
  const byTenantAndModel = { key: 'tenant_id, model', where: 'true' }
  const byDay = (zone: string) => ({
    key: `date_trunc('day', occurred_at at time zone '${zone}')`,
    where: `tenant_id = 't-7'`,
  })
  await compare('a month by tenant and model', question('tenant,model', october), byTenantAndModel)
  await compare('a month by day, one tenant', question('day', october, one), byDay('UTC'))
  await compare(
    'the same in Europe/Dublin',
    question('day', october, { ...one, timeZone: 'Europe/Dublin' }),
    byDay('Europe/Dublin'),
  )
  await compare(
    '30 days until the evening of 28 October, by tenant and model',
    question('tenant,model', spanOf('2026-09-28T20:24:10Z', '2026-10-28T20:24:10Z')),
    byTenantAndModel,
  )
  await compare(
    '30 days from the middle of a month to that of the next, by tenant and model (the dearest span there is)',
    question('tenant,model', spanOf('2026-09-15T12:00:00Z', '2026-10-15T12:00:00Z')),
    byTenantAndModel,
  )
  await measureCommits()
  await measureExport()
} finally {
  await db.destroy()
  await pool.end()
  await postgres.stop()
  if (values.data === undefined) rmSync(dataDir, { recursive: true, force: true })
}

function question(
  groupBy: string,
  span: Pick<CostQuestion, 'fromMicros' | 'toMicros'>,
  more: Partial<CostQuestion> = {},
) {
  return {
    ...{ filter: {}, comparesPrevious: false, dimensions: parseGrouping(groupBy), timeZone: 'UTC', dearestFirst: true },
    ...{ after: null, groupsMax: 100 },
    ...span,
    ...more,
  } satisfies CostQuestion
}

/** Books the records in loads, once with the tail and the roll-ups and once, in part, without. */
async function fill(): Promise<void> {
  const month = (n: number) => `2026-${String(8 + n).padStart(2, '0')}-01`
  for (let n = 0; n < 5; n++) await pool.query('select copilot_internal.ensure_cost_partitions($1)', [month(n)])
  let bookedMs = 0
  let rolledMs = 0
  for (let from = 0; from < records; from += LOAD) {
    bookedMs += await timed(() => insert(from, Math.min(from + LOAD, records)))
    rolledMs += await timed(rollUpAll)
    if ((from / LOAD) % 10 === 9) console.log(`  ${from + LOAD} filled after ${seconds(bookedMs + rolledMs)}`)
  }
  const per = (ms: number) => `${((ms * 1_000) / records).toFixed(2)} µs`
  console.log(
    `booked at ${per(bookedMs)} a record by plain inserts with the tail, rolled up at ${per(rolledMs)} a record`,
  )
  await pool.query('vacuum analyze copilot_internal.cost_rollups')
  await pool.query('vacuum analyze copilot_internal.cost_tail')
  await pool.query('analyze copilot_internal.llm_cost_records')
}

function rollUpAll(): Promise<void> {
  return rollUp({ db }, new AbortController().signal)
}

async function count(relation: string): Promise<number> {
  const { rows } = await pool.query<{ rows: number }>(`select count(*)::integer as rows from ${relation}`)
  return rows[0]!.rows
}

function insert(from: number, to: number) {
  return pool.query(
    `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, conversation_id, provider, model, usage,
       input_tokens, output_tokens, total_cost_usd, quota_period_ids, occurred_at, booked_at, recorded_at)
     select uuidv7(), 't-' || (hashint4(n) & 2147483647) % ${TENANTS}, 'u-' || n % 977, 'c-' || n / 5, 'openai', 'm-' || n % 10,
            '{"input_tokens": 1200, "output_tokens": 300}', 1200, 300, (n % 9973) * 0.000001, '{}', at, at, at
     from generate_series($1::integer, $2::integer) n
     cross join lateral (select timestamptz '2026-08-03T00:00:00Z' + n * interval '${DAYS} days' / $3::integer as at) t`,
    [from, to - 1, records],
  )
}

/** A question as GET /v1/costs asks it, beside a group by over the records, written by hand, for the same sums. */
async function compare(name: string, question: CostQuestion, plain: { key: string; where: string }): Promise<void> {
  const ask = () => readReport(db, question.filter.tenantId ?? null, (transaction) => sumCosts(transaction, question))
  const sumUp = () =>
    pool.query(
      `select ${plain.key}, count(*), sum(total_cost_usd), sum(input_tokens), sum(output_tokens)
       from copilot_internal.llm_cost_records
       where ${plain.where} and occurred_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
         and occurred_at < timestamptz 'epoch' + $2::bigint * interval '1 microsecond'
       group by ${plain.key}`,
      [String(question.fromMicros), String(question.toMicros)],
    )
  await ask()
  await sumUp()
  const times: number[] = []
  for (let n = 0; n < ROUNDS; n++) times.push(await timed(ask))
  const plainTimes: number[] = []
  for (let n = 0; n < PLAIN_ROUNDS; n++) plainTimes.push(await timed(sumUp))
  const [asked, plainly] = [median(times), median(plainTimes)]
  console.log(
    `${name}: median ${asked.toFixed(1)} ms, p95 ${quantile(times, 0.95).toFixed(1)} ms; the plain sum ${plainly.toFixed(0)} ms, ` +
      `${(plainly / asked).toFixed(1)} times the median`,
  )
}

/** What holding and committing takes with the tail and without it, and what the roll-up of those lines takes. */
async function measureCommits(): Promise<void> {
  const trigger = (verb: string) =>
    pool.query(`alter table copilot_internal.llm_cost_records ${verb} trigger llm_cost_records_tail`)
  const ms: Record<'enable' | 'disable', number[]> = { enable: [], disable: [] }
  await settle()
  for (let turn = 0; turn < TURNS; turn++) {
    for (const verb of ['enable', 'disable'] as const) {
      await trigger(verb)
      await settle()
      for (let n = 0; n < BATCHES; n++) ms[verb].push(await timed(settle))
    }
  }
  await trigger('enable')
  const lines = await count('copilot_internal.cost_tail')
  const rolledMs = await timed(rollUpAll)
  const each = (times: number[]) => (times.toSorted((a, b) => a - b)[times.length / 2]! * 1_000) / BATCH
  console.log(
    `a hold and its commit, ${BATCH} at once: ${each(ms.enable).toFixed(0)} µs each with the tail, ${each(ms.disable).toFixed(0)} µs without it; ` +
      `rolled up later at ${((rolledMs * 1_000) / lines).toFixed(1)} µs a line`,
  )
}

async function settle(): Promise<void> {
  const items = Array.from({ length: BATCH }, (_, n): ReserveItem => ({
    ...{ reservation_id: uuidv7(), resource_type: 'llm', tenant_id: `t-${Math.floor(Math.random() * TENANTS)}` },
    ...{ user_id: `u-${n}`, conversation_id: null, path_id: null, labels: {}, principal: 'bench' },
    ...{ idempotency_key: null, request_hash: '\\x00', estimate: {}, price_id: null, amount_usd: '0.001' },
    ...{ fixed_usd: '0', per_unit_usd: '0', caps_name: null, on_expiry: 'release', ttl_seconds: 600 },
    is_free: false,
  }))
  await reserveSpend(db, items, 'enforce')
  await commitSpend(
    db,
    items.map(({ reservation_id }) => ({
      ...{ reservation_id, tenant_id: null, commit_hash: '\\x00', cost_record_id: uuidv7(), reversal_id: uuidv7() },
      ...{ measure: 'cost' as const, cost_usd: '0.0005', provider: 'openai', model: 'm-1' },
    })),
  )
}

/** A million lines, in a process that has run for a while: its first export has made its room already. */
async function measureExport(): Promise<void> {
  await exportLines(200_000)
  const before = process.memoryUsage().rss
  let lines = 0
  let most = before
  const ms = await timed(async () => {
    lines = await exportLines(1_000_000, () => {
      most = Math.max(most, process.memoryUsage().rss)
    })
  })
  console.log(
    `an export of ${lines} lines: ${seconds(ms)}, memory grew from ${(before / 1e6).toFixed(0)} MB by at most ${((most - before) / 1e6).toFixed(0)} MB`,
  )
}

async function exportLines(linesMax: number, onChunk = () => {}): Promise<number> {
  const operator = { id: 'bench', role: 'admin', tenantId: null } as const
  const span = { from: spelledInstant('2026-08-01T00:00:00Z'), to: spelledInstant('2026-11-02T00:00:00Z') }
  const { chunks } = await exportCosts({ db }, operator, { format: 'csv', ...span })
  let lines = 0
  for await (const chunk of chunks) {
    lines += chunk.split('\r\n').length - 1
    onChunk()
    if (lines > linesMax) break
  }
  return lines
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await work()
  return performance.now() - begin
}
