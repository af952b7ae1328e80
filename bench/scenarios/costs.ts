import type pg from 'pg'
import { uuidv7 } from 'uuidv7'
import { sumCosts, type CostQuestion } from '../../src/db/costs/costs.ts'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import { connect, readReport, type Db } from '../../src/db/pool/connection.ts'
import { commitSpend } from '../../src/db/reservations/commit-spend.ts'
import { reserveSpend } from '../../src/db/reservations/reserve-spend.ts'
import { parseGrouping } from '../../src/domain/grouping.ts'
import { spelledInstant } from '../../src/domain/instant.ts'
import { exportCosts } from '../../src/services/costs/export-costs.ts'
import { rollUp } from '../../src/services/costs/roll-up.ts'
import { openPool, startPostgres } from '../database.ts'
import { median, quantile, timed } from '../figures.ts'
import { holdOf } from '../fill.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

const DAYS = 90
const TENANTS = 500
const ROUNDS = 40
const PLAIN_ROUNDS = 5
/** Records of one insert. */
const STEP = 100_000
/** Commits of a transaction; how many of these with the tail, and as many without it; and how often they take turns. */
const BATCH = 20
const BATCHES = 100
const TURNS = 6
const EXPORTED_LINES = 1_000_000

type Databases = { db: Db; pool: pg.Pool }
/** A question as GET /v1/costs asks it, and the same for hand-written SQL over the records. */
type Question = { asked: CostQuestion; key: string; where: string }

export const scenario = defineScenario({
  help: `Fills ${DAYS} days of ${TENANTS} tenants and asks about costs as the service does, beside sums over the records by hand-written SQL.
Then measures what roll-ups add to booking, and how much memory an export takes. The default takes some minutes; 10,000,000
records take about half an hour and 20 GB.`,
  options: {
    records: [1_000_000, 'records'],
    data: ['', 'keeps the database in a folder of its own; the next run with it fills nothing'],
  },
  async run(stack, { records, data }) {
    const { databaseUrl } = await startPostgres(stack, {}, data === '' ? undefined : data)
    await migrateUp(databaseUrl, () => {})
    const pool = openPool(stack, databaseUrl)
    // As the service works.
    const db = connect(databaseUrl, { statementMs: 60_000, roles: { service: true, reader: true } })
    stack.defer(() => db.destroy())
    const databases = { db, pool }
    const isFilled = (await countRows(pool, 'copilot_internal.cost_rollups')) > 0
    const filled = isFilled ? null : await fill(databases, records)
    const questions = []
    for (const [name, question] of Object.entries(listQuestions())) {
      say(`asking for ${name}`)
      questions.push({ name, ...(await measureQuestion(databases, question)) })
    }
    say('booking')
    const booking = await measureCommits(databases)
    say('exporting')
    return { filled, questions, booking, exported: await measureExport(db) }
  },
  print: ({ filled, questions, booking, exported }, { records }) => [
    `${records} records over ${DAYS} days, ${TENANTS} tenants`,
    ...(filled === null
      ? []
      : [
          `booked at ${filled.bookedMicros.toFixed(2)} us a record by plain inserts with the tail, rolled up at ${filled.rolledMicros.toFixed(2)} us a record`,
        ]),
    ...questions.map(
      ({ name, p50Ms, p95Ms, plainMs }) =>
        `${name}: median ${p50Ms.toFixed(1)} ms, p95 ${p95Ms.toFixed(1)} ms; the plain sum ${plainMs.toFixed(0)} ms, ` +
        `${(plainMs / p50Ms).toFixed(1)} times the median`,
    ),
    `a hold and its commit, ${BATCH} at once: ${booking.tailMicros.toFixed(0)} us each with the tail, ${booking.plainMicros.toFixed(0)} us without it; ` +
      `rolled up later at ${booking.rolledMicros.toFixed(1)} us a line`,
    `an export of ${exported.lines} lines: ${exported.seconds.toFixed(1)} s, memory grew from ${exported.beforeMb.toFixed(0)} MB by at most ${exported.grewMb.toFixed(0)} MB`,
  ],
})

function listQuestions(): Record<string, Question> {
  const ask = (groupBy: string, from: string, to: string, more: Partial<CostQuestion> = {}): CostQuestion => ({
    ...{ filter: {}, comparesPrevious: false, dimensions: parseGrouping(groupBy), timeZone: 'UTC', dearestFirst: true },
    ...{ after: null, groupsMax: 100 },
    fromMicros: BigInt(Date.parse(from)) * 1_000n,
    toMicros: BigInt(Date.parse(to)) * 1_000n,
    ...more,
  })
  const byTenantAndModel = (from: string, to: string): Question => ({
    asked: ask('tenant,model', from, to),
    key: 'tenant_id, model',
    where: 'true',
  })
  const byDay = (timeZone: string): Question => ({
    asked: ask('day', '2026-10-01T00:00:00Z', '2026-11-01T00:00:00Z', { filter: { tenantId: 't-7' }, timeZone }),
    key: `date_trunc('day', occurred_at at time zone '${timeZone}')`,
    where: `tenant_id = 't-7'`,
  })
  return {
    'a month by tenant and model': byTenantAndModel('2026-10-01T00:00:00Z', '2026-11-01T00:00:00Z'),
    'a month by day, one tenant': byDay('UTC'),
    'the same in Europe/Dublin': byDay('Europe/Dublin'),
    '30 days until the evening of 28 October, by tenant and model': byTenantAndModel(
      '2026-09-28T20:24:10Z',
      '2026-10-28T20:24:10Z',
    ),
    'the slowest span, 30 days from the middle of a month to that of the next, by tenant and model': byTenantAndModel(
      '2026-09-15T12:00:00Z',
      '2026-10-15T12:00:00Z',
    ),
  }
}

/** Books the records and rolls them up, step by step. Answers microseconds of a record for both. */
async function fill({ db, pool }: Databases, records: number) {
  const month = (n: number) => `2026-${String(8 + n).padStart(2, '0')}-01`
  for (let n = 0; n < 5; n += 1) await pool.query('select copilot_internal.ensure_cost_partitions($1)', [month(n)])
  let bookedMs = 0
  let rolledMs = 0
  for (let from = 0; from < records; from += STEP) {
    const to = Math.min(from + STEP, records)
    bookedMs += await timed(() =>
      pool.query(
        `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, conversation_id, provider, model, usage,
           input_tokens, output_tokens, total_cost_usd, quota_period_ids, occurred_at, booked_at, recorded_at)
         select uuidv7(), 't-' || (hashint4(n) & 2147483647) % ${TENANTS}, 'u-' || n % 977, 'c-' || n / 5, 'openai', 'm-' || n % 10,
                '{"input_tokens": 1200, "output_tokens": 300}', 1200, 300, (n % 9973) * 0.000001, '{}', at, at, at
         from generate_series($1::integer, $2::integer) n
         cross join lateral (select timestamptz '2026-08-03T00:00:00Z' + n * interval '${DAYS} days' / $3::integer as at) t`,
        [from, to - 1, records],
      ),
    )
    rolledMs += await timed(() => rollUpAll(db))
    say(`${to} of ${records} records after ${((bookedMs + rolledMs) / 1_000).toFixed(0)} s`)
  }
  await pool.query('vacuum analyze copilot_internal.cost_rollups')
  await pool.query('vacuum analyze copilot_internal.cost_tail')
  await pool.query('analyze copilot_internal.llm_cost_records')
  return { bookedMicros: (bookedMs * 1_000) / records, rolledMicros: (rolledMs * 1_000) / records }
}

function rollUpAll(db: Db): Promise<void> {
  return rollUp({ db }, new AbortController().signal)
}

async function countRows(pool: pg.Pool, relation: string): Promise<number> {
  const { rows } = await pool.query<{ rows: number }>(`select count(*)::integer as rows from ${relation}`)
  return rows[0]!.rows
}

async function measureQuestion({ db, pool }: Databases, { asked, key, where }: Question) {
  const ask = () => readReport(db, asked.filter.tenantId ?? null, (transaction) => sumCosts(transaction, asked))
  const sumUp = () =>
    pool.query(
      `select ${key}, count(*), sum(total_cost_usd), sum(input_tokens), sum(output_tokens)
       from copilot_internal.llm_cost_records
       where ${where} and occurred_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
         and occurred_at < timestamptz 'epoch' + $2::bigint * interval '1 microsecond'
       group by ${key}`,
      [String(asked.fromMicros), String(asked.toMicros)],
    )
  await ask()
  await sumUp()
  const times: number[] = []
  for (let n = 0; n < ROUNDS; n += 1) times.push(await timed(ask))
  const plainTimes: number[] = []
  for (let n = 0; n < PLAIN_ROUNDS; n += 1) plainTimes.push(await timed(sumUp))
  return { p50Ms: median(times), p95Ms: quantile(times, 0.95), plainMs: median(plainTimes) }
}

/** Microseconds of a hold and its commit with and without the tail, and of a line of the tail when it is rolled up. */
async function measureCommits({ db, pool }: Databases) {
  const ms: Record<'enable' | 'disable', number[]> = { enable: [], disable: [] }
  const trigger = (verb: keyof typeof ms) =>
    pool.query(`alter table copilot_internal.llm_cost_records ${verb} trigger llm_cost_records_tail`)
  await settle(db)
  for (let turn = 0; turn < TURNS; turn += 1) {
    for (const verb of ['enable', 'disable'] as const) {
      await trigger(verb)
      await settle(db)
      for (let n = 0; n < BATCHES; n += 1) ms[verb].push(await timed(() => settle(db)))
    }
  }
  await trigger('enable')
  const lines = await countRows(pool, 'copilot_internal.cost_tail')
  const rolledMs = await timed(() => rollUpAll(db))
  const micros = (times: number[]) => (median(times) * 1_000) / BATCH
  return {
    tailMicros: micros(ms.enable),
    plainMicros: micros(ms.disable),
    rolledMicros: (rolledMs * 1_000) / lines,
  }
}

/** Makes and commits the holds of one batch. */
async function settle(db: Db): Promise<void> {
  const items = Array.from({ length: BATCH }, (_, n) => holdOf(`t-${Math.floor(Math.random() * TENANTS)}`, `u-${n}`))
  await reserveSpend(db, items, 'enforce')
  await commitSpend(
    db,
    items.map(({ reservation_id }) => ({
      ...{ reservation_id, tenant_id: null, commit_hash: '\\x00', cost_record_id: uuidv7(), reversal_id: uuidv7() },
      ...{ measure: 'cost' as const, cost_usd: '0.0005', provider: 'openai', model: 'm-1' },
    })),
  )
}

/** The first export makes the process grow to its working size; the second one is measured. */
async function measureExport(db: Db) {
  await exportLines(db, EXPORTED_LINES / 5)
  const before = process.memoryUsage().rss
  let most = before
  let lines = 0
  const ms = await timed(async () => {
    lines = await exportLines(db, EXPORTED_LINES, () => {
      most = Math.max(most, process.memoryUsage().rss)
    })
  })
  return { lines, seconds: ms / 1_000, beforeMb: before / 1e6, grewMb: (most - before) / 1e6 }
}

async function exportLines(db: Db, linesMax: number, onChunk = () => {}): Promise<number> {
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
