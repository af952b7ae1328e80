import fc from 'fast-check'
import pg from 'pg'
import t from 'tap'
import { sql } from 'kysely'
import { connect } from '../../src/db/pool/connection.ts'
import { sumCosts, type CostQuestion } from '../../src/db/costs/costs.ts'
import { prepareCostPartitions, rollUpTail } from '../../src/db/costs/rollups.ts'
import { parseGrouping } from '../../src/domain/grouping.ts'
import { rollUp as rollUpAll } from '../../src/services/costs/roll-up.ts'
import { insertCostLines, type CostLine } from '../helpers/money/cost-lines.ts'
import { createDatabase } from '../helpers/database.ts'
import { printedSeed } from '../helpers/seed.ts'

const database = await createDatabase(t)
const { pool } = database
// The same roles as in the service.
const db = connect(database.url, { roles: { service: true, reader: true } })
t.teardown(() => db.destroy())
const seed = printedSeed(t)

const micros = (time: string) => BigInt(Date.parse(time)) * 1_000n

const question = (
  groupBy: string | null,
  from: string,
  to: string,
  more: Partial<CostQuestion> = {},
): CostQuestion => ({
  filter: {},
  fromMicros: micros(from),
  toMicros: micros(to),
  comparesPrevious: false,
  dimensions: groupBy === null ? [] : parseGrouping(groupBy),
  timeZone: 'UTC',
  dearestFirst: false,
  after: null,
  groupsMax: 10_000,
  ...more,
})

const rollUp = async (linesMax: number) =>
  (await pool.query<{ lines: number }>('select lines from copilot_internal.roll_up_tail($1, 0)', [linesMax])).rows[0]!
    .lines

const healthy = async () => (await pool.query('select * from copilot_internal.rollup_integrity()')).rows

const bucket = (unit: string, format: string) => (zone: string) =>
  `to_char(date_trunc('${unit}', occurred_at at time zone '${zone}'), '${format}')`
const PLAIN_KEYS: Record<string, (zone: string) => string> = {
  tenant: () => 'tenant_id',
  model: () => 'model',
  resource_type: () => 'resource_type',
  day: bucket('day', 'YYYY-MM-DD'),
  week: bucket('week', 'YYYY-MM-DD'),
  month: bucket('month', 'YYYY-MM'),
}

/** The question's answer and the plain sum over the records by the same keys, in one snapshot. */
function inOneSnapshot(asked: CostQuestion) {
  const keys = sql.raw(asked.dimensions.map(({ name }) => PLAIN_KEYS[name]!(asked.timeZone)).join(', '))
  return db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (transaction) => {
      const answer = await sumCosts(transaction, asked)
      const { rows } = await sql<{ key: (string | null)[]; cost_usd: string; records: string }>`
        select json_build_array(${keys}) as key, trim_scale(sum(total_cost_usd))::text as cost_usd, count(*)::text as records
        from (select 'llm' as resource_type, tenant_id, model, total_cost_usd, occurred_at from copilot_internal.llm_cost_records
              union all select 'e2b', tenant_id, null, total_cost_usd, occurred_at from copilot_internal.e2b_cost_records) r
        where occurred_at >= timestamptz 'epoch' + ${String(asked.fromMicros)}::bigint * interval '1 microsecond'
          and occurred_at < timestamptz 'epoch' + ${String(asked.toMicros)}::bigint * interval '1 microsecond'
        group by ${keys}`.execute(transaction)
      const plain = rows.map(({ key, ...sums }) => [JSON.stringify(key), sums] as const)
      const groups = answer.groups.map(
        ({ key, cost_usd, records }) => [JSON.stringify(key), { cost_usd, records }] as const,
      )
      return { groups: new Map(groups), plain: new Map(plain) }
    })
}

const aMoment = fc
  .integer({ min: Date.UTC(2026, 8, 28), max: Date.UTC(2026, 10, 3) })
  .map((ms) => new Date(ms).toISOString())
const aLine: fc.Arbitrary<CostLine> = fc.record({
  resource_type: fc.constantFrom('llm' as const, 'e2b' as const),
  tenant_id: fc.constantFrom('a', 'b', `c'"\\`),
  model: fc.constantFrom('m', 'n'),
  cost_usd: fc
    .tuple(fc.integer({ min: -9, max: 999_999 }), fc.nat(999_999_999))
    .map(([whole, part]) => `${whole}.${String(part).padStart(12, '0')}`),
  occurred_at: aMoment,
  recorded_at: fc.constant('2026-11-03T00:00:00Z'),
})

t.test(
  'each moment of a span counts once: what months, days and quarters of an hour add outside the span is subtracted',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(
        aMoment,
        aMoment,
        fc.constantFrom('quarter', 'day', 'month'),
        fc.constantFrom(1, 1_000, 60_000, 900_000, 86_400_000),
        async (one, other, coarsest, unit) => {
          const [from, to] = [one, other]
            .map((time) => Math.floor(Date.parse(time) / unit) * unit)
            .toSorted((a, b) => a - b) as [number, number]
          const { rows } = await pool.query<{ grain: string; from: string; to: string; sign: number }>(
            `select grain, extract(epoch from starts_at) * 1000 as from, extract(epoch from ends_at) * 1000 as to, sign
             from copilot_internal.cost_segments(to_timestamp($1 / 1000.0), to_timestamp($2 / 1000.0), $3)`,
            [from, to, coarsest],
          )
          const parts = rows.map((row) => ({ ...row, from: Number(row.from), to: Number(row.to) }))
          const bounds = [from, to, ...parts.flatMap((part) => [part.from, part.to])].toSorted((a, b) => a - b)
          for (const [n, bound] of bounds.entries()) {
            if (bound === bounds[n + 1] || n === bounds.length - 1) continue
            const times = parts.filter((part) => part.from <= bound && bound < part.to).map(({ sign }) => sign)
            t.equal(
              times.reduce((sum, sign) => sum + sign, 0),
              from <= bound && bound < to ? 1 : 0,
            )
          }
          t.ok(parts.length <= 7)
          for (const { grain, from: begin, to: end } of parts) {
            t.ok(begin < end)
            if (grain === 'record') t.ok(end - begin <= 900_000)
            else t.same([begin % 900_000, end % 900_000], [0, 0])
            if (grain === 'day' || grain === 'month') t.same([begin % 86_400_000, end % 86_400_000], [0, 0])
            if (grain === 'month') t.same([new Date(begin).getUTCDate(), new Date(end).getUTCDate()], [1, 1])
            if (grain === 'quarter' && coarsest !== 'quarter') t.ok(end - begin <= 86_400_000)
          }
        },
      ),
      { seed, numRuns: 150 },
    )
  },
)

t.test(
  'while records are booked, commit late and are rolled up by two sessions, every answer is the sum of the records',
  async (t) => {
    const batches = fc.sample(fc.array(aLine, { minLength: 1, maxLength: 12 }), { seed, numRuns: 60 })
    const questions = fc.sample(
      fc.tuple(
        fc.tuple(aMoment, aMoment),
        fc.subarray(['tenant', 'model', 'resource_type'], { minLength: 1 }),
        fc.constantFrom([], ['day'], ['week'], ['month']),
        // The clocks of two zones go back during the time of the records; two zones are not whole hours from UTC.
        fc.constantFrom('UTC', 'Europe/Dublin', 'Asia/Kathmandu', 'America/St_Johns'),
      ),
      { seed: seed + 1, numRuns: 60 },
    )
    let booked = 0
    const next = batches.values()
    const book = async () => {
      for (const lines of next) {
        await insertCostLines(pool, lines)
        booked += 1
      }
    }
    // Two sessions roll up all the time, in steps of odd sizes.
    const roll = async (linesMax: number) => {
      while (booked < batches.length) await rollUp(linesMax)
    }
    // This transaction begins before all others and commits after them; its record must not be lost.
    const late = new pg.Client({ connectionString: database.url })
    await late.connect()
    await pool.query(`select copilot_internal.ensure_cost_partitions('2026-11-03')`)
    await late.query('begin')
    await late.query(
      `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, model, total_cost_usd, occurred_at, booked_at, recorded_at, quota_period_ids)
     values (gen_random_uuid(), 'late', 'm', 7, '2026-10-15T10:00:00Z', '2026-10-15T10:00:00Z', '2026-10-15T10:00:00Z'::timestamptz + interval '19 days', '{}')`,
    )
    const ask = async () => {
      for (const [span, fields, buckets, timeZone] of questions) {
        const [from, to] = span.toSorted() as [string, string]
        const groupBy = [...fields, ...buckets].join(',')
        const { groups, plain } = await inOneSnapshot(question(groupBy, from, to, { timeZone }))
        t.same(groups, plain, `${groupBy} from ${from} to ${to} in ${timeZone}`)
      }
    }
    await Promise.all([book(), book(), roll(7), roll(23), ask()])
    while ((await rollUp(50)) > 0);
    await late.query('commit')
    await late.end()
    const whole = question('tenant,model', '2026-09-01T00:00:00Z', '2026-12-01T00:00:00Z')
    const unrolled = await inOneSnapshot(whole)
    t.same(unrolled.groups, unrolled.plain)
    t.match(unrolled.groups.get('["late","m"]'), { cost_usd: '7', records: '1' })
    t.equal(await rollUp(50), 1)
    t.same((await inOneSnapshot(whole)).groups, unrolled.plain)
    t.same(await healthy(), [])
  },
)

t.test('a crash during a rollup neither loses nor duplicates a record', async (t) => {
  await insertCostLines(pool, [{ tenant_id: 'crash', cost_usd: '3', occurred_at: '2026-11-02T00:00:00Z' }])
  const client = new pg.Client({ connectionString: database.url })
  client.on('error', () => {})
  await client.connect()
  await client.query('begin')
  await client.query('select copilot_internal.roll_up_tail(50000, 0)')
  t.equal(await rollUp(10), 0, 'a second rollup at the same time finds nothing to do')
  const ask = () => inOneSnapshot(question('tenant,model', '2026-11-02T00:00:00Z', '2026-11-03T00:00:00Z'))
  t.match((await ask()).groups.get('["crash",null]'), { cost_usd: '3' })
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  await pool.query('select pg_terminate_backend($1, 5000)', [rows[0]!.pid])
  t.match((await ask()).groups.get('["crash",null]'), { cost_usd: '3' })
  t.equal(await rollUp(10), 1)
  t.match((await ask()).groups.get('["crash",null]'), { cost_usd: '3' })
  t.same(await healthy(), [])
})

t.test(
  'a long tail is rolled up in steps, each from where the last one ended, and records before that place are not lost',
  async (t) => {
    const book = (lines: number) =>
      pool.query(
        `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, model, total_cost_usd, occurred_at, booked_at, recorded_at, quota_period_ids)
       select gen_random_uuid(), 'long', 'm', 0.000000000001, at, at, at, '{}'
       from generate_series(1, $1) n cross join lateral (select timestamptz '2026-11-02T00:00:00Z' + n * interval '1 second' as at) a`,
        [lines],
      )
    await book(25_000)
    const { lines, block } = await rollUpTail(db, 10_000, 0)
    t.equal(lines, 10_000)
    t.ok(block > 0)
    t.equal((await rollUpTail(db, 10_000, 1_000_000)).lines, 0, 'no record is at such a high block')
    // Vacuum frees the space of the first step, so new records are stored before the place that was reached.
    await pool.query('vacuum copilot_internal.cost_tail')
    await book(50)
    const { rows } = await pool.query('select from copilot_internal.cost_tail where ctid < $1::tid limit 1', [
      `(${block},0)`,
    ])
    t.equal(rows.length, 1)
    await rollUpAll({ db }, new AbortController().signal)
    t.equal((await pool.query('select from copilot_internal.cost_tail')).rowCount, 0)
    t.same(await healthy(), [])
  },
)

t.test('the integrity check reports a rollup that is not the sum of its records', async (t) => {
  const client = await pool.connect()
  t.teardown(() => client.release())
  for (const [change, told] of [
    [
      `update copilot_internal.cost_rollups set cost_usd = cost_usd + 0.000000000001 where grain = 'quarter' and tenant_id = 'crash'`,
      2,
    ],
    [`update copilot_internal.cost_rollups set records = records + 1 where grain = 'day' and tenant_id = 'crash'`, 2],
    [`delete from copilot_internal.cost_rollups where grain = 'month' and tenant_id = 'crash'`, 2],
    [
      `insert into copilot_internal.cost_tail (resource_type, tenant_id, occurred_at, cost_usd) values ('llm', 'crash', '2026-11-02', 1)`,
      2,
    ],
  ] as const) {
    await client.query('begin')
    await client.query(change)
    const { rows } = await client.query<{ invariant: string }>('select * from copilot_internal.check_integrity()')
    await client.query('rollback')
    t.same(
      rows.map(({ invariant }) => invariant),
      Array(told).fill('I7'),
      change,
    )
  }
})

t.test('the check of the rollups reads the archived costs once, however many there are', async (t) => {
  const client = await pool.connect()
  await client.query('begin')
  t.teardown(async () => {
    await client.query('rollback')
    client.release()
  })
  await client.query(`
    insert into copilot_internal.cost_archives (partition, resource_type, starts_at, ends_at, state, records, cost_usd, closed_at, content_sha256, file)
    values ('llm_cost_records_2020_01', 'llm', '2020-01-01Z', '2020-02-01Z', 'archived', 20000, 0, now(), repeat('0', 64), 'f')`)
  await client.query(`
    insert into copilot_internal.archived_costs (
      partition, starts_at, resource_type, tenant_id, counted, records, cost_usd, input_tokens, output_tokens, seconds)
    select 'llm_cost_records_2020_01', '2020-01-01Z', 'llm', 't' || n, true, 1, 0, 0, 0, 0 from generate_series(1, 20000) n`)
  await client.query('analyze copilot_internal.archived_costs')
  // The rows exceed the memory of a hash, as those of many users over years would.
  await client.query(`set local work_mem = '64kB'`)
  const { rows } = await client.query(`select prosrc from pg_proc where proname = 'rollup_integrity'`)
  const plan = await client.query({ text: `explain ${rows[0].prosrc}`, rowMode: 'array' })
  t.notMatch(plan.rows.join('\n'), 'SubPlan', 'nothing is looked up row by row')
})

t.test('the rollups of a month can be rebuilt from its records', async (t) => {
  await insertCostLines(pool, [{ tenant_id: 'anew', cost_usd: '3', occurred_at: '2026-11-02T00:00:00Z' }])
  await pool.query(`update copilot_internal.cost_rollups set cost_usd = 0, records = 5 where starts_at >= '2026-11-01'`)
  t.not((await healthy()).length, 0)
  await pool.query(`select copilot_internal.rebuild_cost_rollups('2026-11-20')`)
  t.same(await healthy(), [])
  const { groups, plain } = await inOneSnapshot(
    question('tenant,model', '2026-09-01T00:00:00Z', '2026-12-01T00:00:00Z'),
  )
  t.same(groups, plain)
})

t.test('the partitions of a month are created ahead, or when they are first needed', async (t) => {
  const names = async () => {
    const { rows } = await pool.query<{ name: string }>(
      `select c.relname as name from pg_class c where c.relnamespace = 'copilot_partitions'::regnamespace and c.relkind = 'r' order by 1`,
    )
    return rows.map(({ name }) => name)
  }
  const months = (...texts: string[]) =>
    ['e2b', 'llm'].flatMap((type) => texts.map((text) => `${type}_cost_records_${text}`))
  const session = await db.connection().execute(async (connection) => {
    await sql`set purser.fake_now = '2030-11-30T23:59:59.999Z'`.execute(connection)
    await prepareCostPartitions(connection, 2)
    await sql`reset purser.fake_now`.execute(connection)
    return names()
  })
  for (const name of months('2030_11', '2030_12', '2031_01')) t.ok(session.includes(name), name)
  const found = await Promise.all(
    Array.from({ length: 6 }, () =>
      pool.query(`select copilot_internal.ensure_cost_partitions('2031-02-28T23:59:59Z')`),
    ),
  )
  t.equal(found.length, 6, 'several sessions that need a month at once all get it')
  for (const name of months('2031_02')) t.ok((await names()).includes(name), name)
})

t.test('tenants, providers and models with the longest names and any characters have separate rollups', async (t) => {
  const ids = ['x', 'y'].map((last) => `${'😀'.repeat(199)}${last}`)
  await insertCostLines(
    pool,
    ids.map((id) => ({
      ...{ tenant_id: id, provider: '\u{1F600}'.repeat(200), model: ids[0]!, cost_usd: '1' },
      occurred_at: '2026-11-02T00:00:00Z',
    })),
  )
  t.equal(await rollUp(10), 2)
  const { groups, plain } = await inOneSnapshot(
    question('tenant,model', '2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'),
  )
  t.same(groups, plain)
  t.same(await healthy(), [])
})
