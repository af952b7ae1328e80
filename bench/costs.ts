// What questions about costs take, beside the plain sum over the records, and what roll-ups add to booking.
// npm run bench:costs [-- --records 10000000]: on a Postgres of its own, which is gone afterwards.
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { connect } from '../src/db/connection.ts'
import { sumCosts, type CostQuestion } from '../src/db/costs.ts'
import { migrateUp } from '../src/db/migrations.ts'
import { parseGrouping } from '../src/domain/grouping.ts'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { exportCosts } from '../src/services/export-costs.ts'

const DAYS = 90
const TENANTS = 500
const ROUNDS = 20
const PLAIN_ROUNDS = 3
const LOAD = 100_000

const { values } = parseArgs({ options: { records: { type: 'string', default: '10000000' } } })
const records = Number(values.records)

const dataDir = mkdtempSync(join(tmpdir(), 'purser-bench-costs-'))
const postgres = await startEmbeddedPostgres({ dataDir })
const pool = new pg.Pool({ connectionString: postgres.databaseUrl, max: 2 })
const db = connect(postgres.databaseUrl, { statementMs: 3_600_000 })
try {
  await migrateUp(postgres.databaseUrl, () => {})
  console.log(`${cpus().length} cores, ${cpus()[0]?.model}; ${records} records over ${DAYS} days, ${TENANTS} tenants`)
  await fill()
  const day = 86_400_000
  const to = Date.UTC(2026, 10, 1)
  const month = { fromMicros: BigInt(Date.UTC(2026, 9, 1)) * 1_000n, toMicros: BigInt(to) * 1_000n }
  const rolling = { fromMicros: BigInt(to - 30.4 * day) * 1_000n, toMicros: BigInt(to - 0.4 * day) * 1_000n }
  await compare('a month by tenant and model', question('tenant,model', month))
  await compare('30 days that begin within a day, by tenant and model', question('tenant,model', rolling))
  await compare('a month by day, one tenant', question('day', month, { filter: { tenantId: 't-7' } }))
  await compare(
    'the same in Europe/Dublin',
    question('day', month, { filter: { tenantId: 't-7' }, timeZone: 'Europe/Dublin' }),
  )
  await measureExport()
} finally {
  await db.destroy()
  await pool.end()
  await postgres.stop()
  rmSync(dataDir, { recursive: true, force: true })
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
    rolledMs += await timed(() => pool.query('select copilot_internal.roll_up_costs(1000000)'))
  }
  const per = (ms: number) => `${((ms * 1_000) / records).toFixed(2)} µs`
  console.log(
    `booked at ${per(bookedMs)} a record by plain inserts with the tail, rolled up at ${per(rolledMs)} a record`,
  )
  await pool.query('vacuum analyze copilot_internal.cost_rollups')
  await pool.query('vacuum analyze copilot_internal.cost_tail')
  await pool.query('analyze copilot_internal.llm_cost_records')
}

function insert(from: number, to: number) {
  return pool.query(
    `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, conversation_id, provider, model, usage,
       input_tokens, output_tokens, total_cost_usd, quota_period_ids, occurred_at, booked_at, recorded_at)
     select gen_random_uuid(), 't-' || (hashint4(n) & 2147483647) % ${TENANTS}, 'u-' || n % 977, 'c-' || n / 5, 'openai', 'm-' || n % 10,
            '{"input_tokens": 1200, "output_tokens": 300}', 1200, 300, (n % 9973) * 0.000001, '{}', at, at, at
     from generate_series($1::integer, $2::integer) n
     cross join lateral (select timestamptz '2026-08-03T00:00:00Z' + n * interval '${DAYS} days' / $3::integer as at) t`,
    [from, to - 1, records],
  )
}

async function compare(name: string, asked: CostQuestion): Promise<void> {
  const times: number[] = []
  await sumCosts(db, asked)
  for (let n = 0; n < ROUNDS; n++) times.push(await timed(() => sumCosts(db, asked)))
  // A filter that every record passes, but that rollups cannot answer.
  const plain = { ...asked, filter: { ...asked.filter, late: false } }
  const plainTimes: number[] = []
  for (let n = 0; n < PLAIN_ROUNDS; n++) plainTimes.push(await timed(() => sumCosts(db, plain)))
  const p95 = times.toSorted((a, b) => a - b)[Math.floor(ROUNDS * 0.95) - 1]!
  const best = Math.min(...plainTimes)
  console.log(
    `${name}: p95 ${p95.toFixed(1)} ms; the plain sum ${best.toFixed(0)} ms, ${(best / p95).toFixed(0)} times as long`,
  )
}

async function measureExport(): Promise<void> {
  const operator = { id: 'bench', role: 'admin', tenantId: null } as const
  const span = { from: '2026-08-01T00:00:00Z', to: '2026-11-02T00:00:00Z' }
  const before = process.memoryUsage().rss
  let most = before
  let rows = 0
  const ms = await timed(async () => {
    const { chunks } = await exportCosts({ db }, operator, { format: 'csv', ...span })
    for await (const chunk of chunks) {
      rows += chunk.split('\r\n').length - 1
      most = Math.max(most, process.memoryUsage().rss)
      if (rows > 1_000_000) break
    }
  })
  console.log(
    `an export of ${rows} lines: ${(ms / 1_000).toFixed(1)} s, memory grew by at most ${((most - before) / 1e6).toFixed(0)} MB`,
  )
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  await work()
  return performance.now() - begin
}
