import fc from 'fast-check'
import t from 'tap'
import { insertCostLines, parseDigits, type CostLine } from '../../helpers/money/cost-lines.ts'
import { costsReader, queryText, sumOf, sumsOf, SCALE, unscaled } from '../../helpers/money/costs.ts'
import { createDatabase } from '../../helpers/database.ts'
import { startService } from '../../helpers/servers/service.ts'

type RecordPage = { data: { cost_usd: string }[]; next_cursor: string | null }

const database = await createDatabase(t)
const service = await startService(t, database.url)
const { costs, allCosts } = costsReader(service)
const seed = Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`property tests with seed ${seed}; PURSER_TEST_SEED repeats them`)

/** A moment in a zone by `Intl`, which is independent of Postgres. */
function wallClock(at: string, timeZone: string): { date: string; hour: string; offset: string } {
  const parts = new Intl.DateTimeFormat('en-CA', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'longOffset',
  }).formatToParts(new Date(at))
  const part = (type: string) => parts.find((one) => one.type === type)!.value
  const offset = part('timeZoneName').replace('GMT', '')
  return {
    date: `${part('year')}-${part('month')}-${part('day')}`,
    hour: part('hour'),
    offset: ['', '+00:00'].includes(offset) ? 'Z' : offset,
  }
}

const KEYS: Record<string, (line: CostLine, timeZone: string) => string | null> = {
  tenant: (line) => line.tenant_id,
  user: (line) => line.user_id ?? null,
  conversation: (line) => line.conversation_id ?? null,
  path: (line) => line.path_id ?? null,
  provider: (line) => (line.resource_type === 'llm' ? (line.provider ?? null) : null),
  model: (line) => (line.resource_type === 'llm' ? (line.model ?? null) : null),
  tier: (line) => (line.resource_type === 'e2b' ? (line.tier ?? null) : null),
  resource_type: (line) => line.resource_type!,
  'label.feature': (line) => line.labels?.['feature'] ?? null,
  'label.x_9': (line) => line.labels?.['x_9'] ?? null,
  hour: (line, timeZone) => {
    const { date, hour, offset } = wallClock(line.occurred_at, timeZone)
    return `${date}T${hour}:00:00${offset}`
  },
  day: (line, timeZone) => wallClock(line.occurred_at, timeZone).date,
  week: (line, timeZone) => {
    const day = new Date(`${wallClock(line.occurred_at, timeZone).date}T00:00:00Z`)
    day.setUTCDate(day.getUTCDate() - ((day.getUTCDay() + 6) % 7))
    return day.toISOString().slice(0, 10)
  },
  month: (line, timeZone) => wallClock(line.occurred_at, timeZone).date.slice(0, 7),
}
const BUCKETS = ['hour', 'day', 'week', 'month']
const FIELDS = Object.keys(KEYS).filter((name) => !BUCKETS.includes(name))

const ODD_TENANT = `t-'"\\`

const aName = (...names: string[]) => fc.constantFrom(...names)
const orNull = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { freq: 3 })
const aDecimal = (decimals: number) =>
  fc.bigInt({ min: -(10n ** 15n), max: 10n ** 21n }).map((digits) => unscaled(digits * 10n ** BigInt(SCALE - decimals)))
const aCount = fc.bigInt({ min: -1000n, max: 10n ** 12n }).map(String)
// Days around clock changes, and others.
const aTime = fc
  .tuple(
    fc.oneof(
      fc.constantFrom('2026-03-08', '2026-03-29', '2026-04-05', '2026-10-04', '2026-10-25', '2026-11-01'),
      fc.integer({ min: 1, max: 360 }).map((day) => new Date(Date.UTC(2026, 0, day)).toISOString().slice(0, 10)),
    ),
    fc.integer({ min: -43_200_000, max: 129_600_000 }),
  )
  .map(([date, ms]) => new Date(Date.parse(`${date}T00:00:00Z`) + ms).toISOString())
const cutTime = (time: string, digits: number) => `${time.slice(0, digits)}${'YYYY-01-01T00:00:00.000Z'.slice(digits)}`
const aLine = fc.record({
  resource_type: aName('llm', 'e2b') as fc.Arbitrary<'llm' | 'e2b'>,
  tenant_id: aName('t-1', 't-2', ODD_TENANT),
  user_id: orNull(aName('u-1', 'u-2', 'é', 'z')),
  conversation_id: orNull(aName('c-1', 'c-2', 'c-3', 'C-3')),
  path_id: orNull(aName('p-1', 'p-2')),
  labels: fc.record({ feature: aName('chat', 'Chat', '', '日本'), x_9: aName('1', `'`, 'null') }, { requiredKeys: [] }),
  provider: orNull(aName('openai', 'groq')),
  model: orNull(aName('gpt-6.1-sol', 'openai/gpt-oss-20b')),
  tier: orNull(aName('standard', 'large')),
  input_tokens: orNull(aCount),
  output_tokens: orNull(aCount),
  seconds: orNull(aDecimal(6)),
  cost_usd: aDecimal(12),
  occurred_at: aTime,
  late: fc.boolean(),
})

/** A cost record as a row of its table. The fields that it lacks belong to the other resource type. */
const asStored = (line: CostLine): CostLine =>
  line.resource_type === 'llm' ? { ...line, seconds: null } : { ...line, input_tokens: null, output_tokens: null }

function groupsOf(lines: CostLine[], names: string[], timeZone: string): Map<string, CostLine[]> {
  const groups = new Map<string, CostLine[]>()
  for (const line of lines) {
    const key = JSON.stringify(Object.fromEntries(names.map((name) => [name, KEYS[name]!(line, timeZone)])))
    groups.set(key, [...(groups.get(key) ?? []), line])
  }
  return groups
}

const lines = fc.sample(aLine, { seed, numRuns: 400 }).map(asStored)
await insertCostLines(
  database.pool,
  lines.map((line) => ({ ...line, recorded_at: '2026-11-24T12:00:00Z' })),
)

const aZone = aName(
  'UTC',
  'Europe/Dublin',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
)
const aGrouping = fc
  .tuple(fc.subarray(FIELDS), orNull(aName(...BUCKETS)), fc.nat())
  .map(([fields, bucket, at]) => (bucket === null ? fields : fields.toSpliced(at % (fields.length + 1), 0, bucket)))
const aQuestion = fc.record({
  names: aGrouping,
  time_zone: aZone,
  limit: fc.integer({ min: 20, max: 1000 }),
  filter: fc.record(
    { tenant_id: aName('t-1', ODD_TENANT), late: fc.boolean(), resource_type: aName('llm', 'e2b') },
    { requiredKeys: [] },
  ),
  // Some ranges begin and end at a quarter of an hour, a day or a month.
  range: fc
    .tuple(aTime, aTime, fc.constantFrom(24, 19, 13, 10, 7))
    .map(([one, other, digits]) => [one, other].map((time) => cutTime(time, digits)).sort() as [string, string]),
  comparesPrevious: fc.boolean(),
  // This many records are rolled up before the query.
  rolledUp: fc.nat(20),
})

t.test('for random records and groupings, each group is an exact sum and all add up to the total', async (t) => {
  await fc.assert(
    fc.asyncProperty(aQuestion, async ({ names, filter, range: [from, to], comparesPrevious, rolledUp, ...rest }) => {
      await database.pool.query('select copilot_internal.roll_up_tail($1, 0)', [rolledUp])
      const span = Date.parse(to) - Date.parse(from)
      const within = (line: CostLine) => line.occurred_at >= from && line.occurred_at < to
      const later = (line: CostLine) => ({
        ...line,
        occurred_at: new Date(Date.parse(line.occurred_at) + span).toISOString(),
      })
      const matching = lines.filter((line) =>
        Object.entries(filter).every(([name, value]) => line[name as keyof CostLine] === value),
      )
      const sums = (now: CostLine[], before: CostLine[]) => ({
        ...sumsOf(now),
        ...(comparesPrevious ? { previous_cost_usd: sumOf(before.map((line) => line.cost_usd)) } : {}),
      })
      const now = matching.filter(within)
      const before = comparesPrevious ? matching.map(later).filter(within) : []
      const nowBy = groupsOf(now, names, rest.time_zone)
      const beforeBy = groupsOf(before, names, rest.time_zone)
      const expected = [...new Set([...nowBy.keys(), ...beforeBy.keys()])].map(
        (key) => [key, sums(nowBy.get(key) ?? [], beforeBy.get(key) ?? [])] as const,
      )

      const answer = await allCosts({
        from,
        to,
        ...rest,
        ...filter,
        ...(names.length > 0 ? { group_by: names.join() } : {}),
        ...(comparesPrevious ? { compare: 'previous' } : {}),
      })
      t.same(answer.total, sums(now, before))
      if (names.length === 0) return t.same(answer.groups, [])
      t.same(new Map(answer.groups.map(({ key, ...of }) => [JSON.stringify(key), of])), new Map(expected))
      t.equal(answer.groups.length, expected.length, 'no group comes twice')
      for (const [name, total] of Object.entries(answer.total)) {
        t.equal(sumOf(answer.groups.map((group) => group[name as 'cost_usd'])), total, `the groups' ${name}`)
      }
    }),
    { seed, numRuns: 60 },
  )
})

t.test('the total equals the sum of the listed records for the same filter', async (t) => {
  for (const filter of [{}, { 'label.feature': 'chat' }, { user_id: 'u-1', resource_type: 'llm' }, { late: true }]) {
    const query = { ...filter, from: '2026-01-01T00:00:00Z', to: '2026-12-01T00:00:00Z' }
    const amounts: string[] = []
    for (let cursor: string | null = null; amounts.length === 0 || cursor !== null;) {
      const page = queryText({ ...query, limit: 50, ...(cursor === null ? {} : { cursor }) })
      const { text } = await service.call('GET', `/v1/cost-records?${page}`)
      const { data, next_cursor: next } = parseDigits(text) as RecordPage
      amounts.push(...data.map((record) => record.cost_usd))
      cursor = next
    }
    const { total } = await costs(query)
    t.equal(total.records, String(amounts.length))
    t.equal(total.cost_usd, sumOf(amounts))
  }
})
