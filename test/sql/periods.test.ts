import fc from 'fast-check'
import t, { type Test } from 'tap'
import { formatsOf } from '../../src/schemas/formats.ts'
import { createDatabase } from '../helpers/database.ts'

const { pool } = await createDatabase(t)
const seed = Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`property tests with seed ${seed}; PURSER_TEST_SEED repeats them`)

type Kind = { period: string; zone?: string; weekStartsOn?: number; billingDay?: number }

/** The period that contains a moment, as "start .. end" in UTC. */
async function periodAt(at: string, { period, zone = 'UTC', weekStartsOn = 1, billingDay = 1 }: Kind): Promise<string> {
  const { rows } = await pool.query<{ text: string }>(
    `select to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' .. ' || to_char(ends_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as text
     from copilot_internal.period_bounds($1, $2, $3, $4, $5)`,
    [period, zone, weekStartsOn, billingDay, at],
  )
  return rows[0]!.text
}

/** Moments, and the period that contains each. */
type Edges = Record<string, string>

async function assertEdges(t: Test, kind: Kind, edges: Edges): Promise<void> {
  for (const [at, expected] of Object.entries(edges)) t.equal(await periodAt(at, kind), expected, at)
}

t.test('an hour is an hour of UTC, even if the zone is at :45 or its clocks change', async (t) => {
  for (const zone of ['UTC', 'Asia/Kathmandu', 'Europe/Dublin', 'Australia/Lord_Howe']) {
    await assertEdges(
      t,
      { period: 'hour', zone },
      {
        '2026-10-25T00:59:59.999999Z': '2026-10-25 00:00 .. 2026-10-25 01:00',
        '2026-10-25T01:00:00Z': '2026-10-25 01:00 .. 2026-10-25 02:00',
        '2026-12-31T23:30:00Z': '2026-12-31 23:00 .. 2027-01-01 00:00',
      },
    )
  }
})

const DAYS: { name: string; zone: string; edges: Edges }[] = [
  {
    name: 'Europe/Dublin: 23 hours when summer begins, 25 when it ends',
    zone: 'Europe/Dublin',
    edges: {
      '2026-03-28T23:59:59.999999Z': '2026-03-28 00:00 .. 2026-03-29 00:00',
      '2026-03-29T00:00:00Z': '2026-03-29 00:00 .. 2026-03-29 23:00',
      '2026-03-29T22:59:59.999999Z': '2026-03-29 00:00 .. 2026-03-29 23:00',
      '2026-03-29T23:00:00Z': '2026-03-29 23:00 .. 2026-03-30 23:00',
      '2026-10-24T23:00:00Z': '2026-10-24 23:00 .. 2026-10-26 00:00',
      // 01:30 by the clock, the first and the second time.
      '2026-10-25T00:30:00Z': '2026-10-24 23:00 .. 2026-10-26 00:00',
      '2026-10-25T01:30:00Z': '2026-10-24 23:00 .. 2026-10-26 00:00',
      '2026-10-26T00:00:00Z': '2026-10-26 00:00 .. 2026-10-27 00:00',
    },
  },
  {
    name: 'America/New_York: the same on its own dates',
    zone: 'America/New_York',
    edges: {
      '2026-03-08T04:59:59.999999Z': '2026-03-07 05:00 .. 2026-03-08 05:00',
      '2026-03-08T05:00:00Z': '2026-03-08 05:00 .. 2026-03-09 04:00',
      '2026-03-09T04:00:00Z': '2026-03-09 04:00 .. 2026-03-10 04:00',
      '2026-11-01T05:30:00Z': '2026-11-01 04:00 .. 2026-11-02 05:00',
      '2026-11-01T06:30:00Z': '2026-11-01 04:00 .. 2026-11-02 05:00',
    },
  },
  {
    name: 'America/Santiago: a day whose midnight does not exist begins at 01:00',
    zone: 'America/Santiago',
    edges: {
      '2026-09-06T03:59:59.999999Z': '2026-09-05 04:00 .. 2026-09-06 04:00',
      '2026-09-06T04:00:00Z': '2026-09-06 04:00 .. 2026-09-07 03:00',
      '2026-09-07T03:00:00Z': '2026-09-07 03:00 .. 2026-09-08 03:00',
    },
  },
  {
    name: 'America/Santiago: a day before whose end 23:00 comes twice',
    zone: 'America/Santiago',
    edges: {
      '2026-04-05T02:59:59.999999Z': '2026-04-04 03:00 .. 2026-04-05 04:00',
      '2026-04-05T03:30:00Z': '2026-04-04 03:00 .. 2026-04-05 04:00',
      '2026-04-05T04:00:00Z': '2026-04-05 04:00 .. 2026-04-06 04:00',
    },
  },
  {
    name: 'Africa/Cairo: a midnight that does not exist, and one that comes twice',
    zone: 'Africa/Cairo',
    edges: {
      '2026-04-23T21:59:59.999999Z': '2026-04-22 22:00 .. 2026-04-23 22:00',
      '2026-04-23T22:00:00Z': '2026-04-23 22:00 .. 2026-04-24 21:00',
      '2026-10-29T20:30:00Z': '2026-10-28 21:00 .. 2026-10-29 22:00',
      '2026-10-29T21:30:00Z': '2026-10-28 21:00 .. 2026-10-29 22:00',
      '2026-10-29T22:00:00Z': '2026-10-29 22:00 .. 2026-10-30 22:00',
    },
  },
  {
    name: 'Atlantic/Azores: a day whose first hour comes twice begins with the first',
    zone: 'Atlantic/Azores',
    edges: {
      '2026-10-24T23:59:59.999999Z': '2026-10-24 00:00 .. 2026-10-25 00:00',
      '2026-10-25T00:00:00Z': '2026-10-25 00:00 .. 2026-10-26 01:00',
      '2026-10-25T00:30:00Z': '2026-10-25 00:00 .. 2026-10-26 01:00',
      '2026-10-25T01:30:00Z': '2026-10-25 00:00 .. 2026-10-26 01:00',
      '2026-10-26T01:00:00Z': '2026-10-26 01:00 .. 2026-10-27 01:00',
    },
  },
  {
    name: 'America/Havana: the same on its own dates',
    zone: 'America/Havana',
    edges: {
      '2026-11-01T03:59:59.999999Z': '2026-10-31 04:00 .. 2026-11-01 04:00',
      '2026-11-01T04:30:00Z': '2026-11-01 04:00 .. 2026-11-02 05:00',
      '2026-11-01T05:30:00Z': '2026-11-01 04:00 .. 2026-11-02 05:00',
    },
  },
  {
    name: 'Pacific/Apia: the day that the island skipped is no period',
    zone: 'Pacific/Apia',
    edges: {
      '2011-12-30T09:59:59.999999Z': '2011-12-29 10:00 .. 2011-12-30 10:00',
      '2011-12-30T10:00:00Z': '2011-12-30 10:00 .. 2011-12-31 10:00',
    },
  },
  {
    name: 'Asia/Kathmandu: days begin at 18:15 UTC',
    zone: 'Asia/Kathmandu',
    edges: {
      '2026-11-10T18:14:59.999999Z': '2026-11-09 18:15 .. 2026-11-10 18:15',
      '2026-11-10T18:15:00Z': '2026-11-10 18:15 .. 2026-11-11 18:15',
    },
  },
  {
    name: 'UTC: leap day',
    zone: 'UTC',
    edges: {
      '2028-02-28T23:59:59.999999Z': '2028-02-28 00:00 .. 2028-02-29 00:00',
      '2028-02-29T12:00:00Z': '2028-02-29 00:00 .. 2028-03-01 00:00',
      '2027-02-28T12:00:00Z': '2027-02-28 00:00 .. 2027-03-01 00:00',
    },
  },
]

for (const { name, zone, edges } of DAYS) {
  t.test(`a day is a calendar day of its zone: ${name}`, (t) => assertEdges(t, { period: 'day', zone }, edges))
}

t.test('a week begins at midnight of its first day, whichever day that is', async (t) => {
  // 2026-11-11 is a Wednesday.
  const starts = ['2026-11-09', '2026-11-10', '2026-11-11', '2026-11-05', '2026-11-06', '2026-11-07', '2026-11-08']
  for (const [n, start] of starts.entries()) {
    const next = new Date(Date.parse(start) + 7 * 86_400_000).toISOString().slice(0, 10)
    const kind = { period: 'week', weekStartsOn: n + 1 }
    await assertEdges(t, kind, {
      '2026-11-11T12:00:00Z': `${start} 00:00 .. ${next} 00:00`,
      [`${start}T00:00:00Z`]: `${start} 00:00 .. ${next} 00:00`,
      [new Date(Date.parse(next) - 1).toISOString()]: `${start} 00:00 .. ${next} 00:00`,
    })
  }
})

t.test('a week is an hour shorter or longer when the clocks change in it', async (t) => {
  await assertEdges(
    t,
    { period: 'week', zone: 'America/New_York', weekStartsOn: 7 },
    {
      '2026-03-08T05:00:00Z': '2026-03-08 05:00 .. 2026-03-15 04:00',
      '2026-11-01T12:00:00Z': '2026-11-01 04:00 .. 2026-11-08 05:00',
      '2026-12-31T23:59:59Z': '2026-12-27 05:00 .. 2027-01-03 05:00',
    },
  )
})

t.test('a month begins on its billing day, or on its last day if it is shorter', async (t) => {
  await assertEdges(
    t,
    { period: 'month', billingDay: 31 },
    {
      '2026-01-30T23:59:59.999999Z': '2025-12-31 00:00 .. 2026-01-31 00:00',
      '2026-01-31T00:00:00Z': '2026-01-31 00:00 .. 2026-02-28 00:00',
      '2026-02-28T00:00:00Z': '2026-02-28 00:00 .. 2026-03-31 00:00',
      '2026-03-31T00:00:00Z': '2026-03-31 00:00 .. 2026-04-30 00:00',
      '2026-04-30T00:00:00Z': '2026-04-30 00:00 .. 2026-05-31 00:00',
      '2028-02-28T23:59:59.999999Z': '2028-01-31 00:00 .. 2028-02-29 00:00',
      '2028-02-29T00:00:00Z': '2028-02-29 00:00 .. 2028-03-31 00:00',
    },
  )
  await assertEdges(
    t,
    { period: 'month', billingDay: 30 },
    {
      '2026-02-27T12:00:00Z': '2026-01-30 00:00 .. 2026-02-28 00:00',
      '2026-02-28T12:00:00Z': '2026-02-28 00:00 .. 2026-03-30 00:00',
      '2026-04-30T00:00:00Z': '2026-04-30 00:00 .. 2026-05-30 00:00',
    },
  )
  await assertEdges(
    t,
    { period: 'month', billingDay: 29 },
    {
      '2026-02-28T00:00:00Z': '2026-02-28 00:00 .. 2026-03-29 00:00',
      '2028-02-28T12:00:00Z': '2028-01-29 00:00 .. 2028-02-29 00:00',
      '2028-02-29T00:00:00Z': '2028-02-29 00:00 .. 2028-03-29 00:00',
    },
  )
  await assertEdges(
    t,
    { period: 'month', billingDay: 15 },
    {
      '2027-01-14T23:59:59.999999Z': '2026-12-15 00:00 .. 2027-01-15 00:00',
      '2027-01-15T00:00:00Z': '2027-01-15 00:00 .. 2027-02-15 00:00',
    },
  )
})

t.test('a month follows the calendar of its zone', async (t) => {
  await assertEdges(
    t,
    { period: 'month', zone: 'Europe/Dublin' },
    {
      '2026-10-31T23:59:59.999999Z': '2026-09-30 23:00 .. 2026-11-01 00:00',
      '2026-03-01T00:00:00Z': '2026-03-01 00:00 .. 2026-03-31 23:00',
    },
  )
  await assertEdges(
    t,
    { period: 'month', zone: 'America/New_York', billingDay: 31 },
    {
      '2026-03-01T04:59:59.999999Z': '2026-02-28 05:00 .. 2026-03-31 04:00',
      '2026-02-28T04:59:59.999999Z': '2026-01-31 05:00 .. 2026-02-28 05:00',
    },
  )
  // The billing day that Apia skipped begins and ends with the one before it.
  await assertEdges(
    t,
    { period: 'month', zone: 'Pacific/Apia', billingDay: 30 },
    {
      '2011-12-30T09:59:59.999999Z': '2011-11-30 10:00 .. 2011-12-30 10:00',
      '2011-12-30T10:00:00Z': '2011-12-30 10:00 .. 2012-01-29 10:00',
    },
  )
})

t.test('weeks and months begin at :45 past the hour of UTC in zones with such an offset', async (t) => {
  // 2028-02-29 is a leap day, and a Tuesday.
  await assertEdges(
    t,
    { period: 'week', zone: 'Asia/Kathmandu', weekStartsOn: 2 },
    {
      '2028-02-28T18:14:59.999999Z': '2028-02-21 18:15 .. 2028-02-28 18:15',
      '2028-02-28T18:15:00Z': '2028-02-28 18:15 .. 2028-03-06 18:15',
    },
  )
  await assertEdges(
    t,
    { period: 'month', zone: 'Asia/Kathmandu', billingDay: 31 },
    {
      '2028-02-28T18:14:59.999999Z': '2028-01-30 18:15 .. 2028-02-28 18:15',
      '2028-02-28T18:15:00Z': '2028-02-28 18:15 .. 2028-03-30 18:15',
      '2027-02-27T18:15:00Z': '2027-02-27 18:15 .. 2027-03-30 18:15',
    },
  )
  // Chatham: 12:45 ahead in winter, 13:45 in summer; the clocks go back on 2026-04-05 and forward on 2026-09-27.
  await assertEdges(
    t,
    { period: 'day', zone: 'Pacific/Chatham' },
    {
      '2026-04-04T10:14:59.999999Z': '2026-04-03 10:15 .. 2026-04-04 10:15',
      '2026-04-04T10:15:00Z': '2026-04-04 10:15 .. 2026-04-05 11:15',
      '2026-09-26T11:15:00Z': '2026-09-26 11:15 .. 2026-09-27 10:15',
      '2026-09-27T10:15:00Z': '2026-09-27 10:15 .. 2026-09-28 10:15',
    },
  )
  await assertEdges(
    t,
    { period: 'week', zone: 'Pacific/Chatham', weekStartsOn: 7 },
    {
      '2026-04-04T10:15:00Z': '2026-04-04 10:15 .. 2026-04-11 11:15',
      '2026-09-26T11:15:00Z': '2026-09-26 11:15 .. 2026-10-03 10:15',
    },
  )
  await assertEdges(
    t,
    { period: 'month', zone: 'Pacific/Chatham', billingDay: 5 },
    {
      '2026-04-04T10:14:59.999999Z': '2026-03-04 10:15 .. 2026-04-04 10:15',
      '2026-04-04T10:15:00Z': '2026-04-04 10:15 .. 2026-05-04 11:15',
    },
  )
})

t.test('a month whose billing day is the day the clocks change begins at that day’s midnight', async (t) => {
  await assertEdges(
    t,
    { period: 'month', zone: 'America/New_York', billingDay: 8 },
    {
      '2026-03-08T04:59:59.999999Z': '2026-02-08 05:00 .. 2026-03-08 05:00',
      '2026-03-08T05:00:00Z': '2026-03-08 05:00 .. 2026-04-08 04:00',
    },
  )
  await assertEdges(
    t,
    { period: 'month', zone: 'Africa/Cairo', billingDay: 24 },
    { '2026-04-23T22:00:00Z': '2026-04-23 22:00 .. 2026-05-23 21:00' },
  )
})

t.test('the period total has practically no end', async (t) => {
  await assertEdges(
    t,
    { period: 'total', zone: 'Asia/Kathmandu' },
    {
      '1970-01-01T00:00:00Z': '1970-01-01 00:00 .. 9999-12-31 00:00',
      '2026-11-10T12:00:00Z': '1970-01-01 00:00 .. 9999-12-31 00:00',
    },
  )
})

t.test('an unknown period is an error', async (t) => {
  await t.rejects(periodAt('2026-11-10T12:00:00Z', { period: 'year' }), { code: '22023' })
  await t.rejects(periodAt('2026-11-10T12:00:00Z', { period: 'day', zone: 'Mars/Olympus' }), { code: '22023' })
})

t.test('the session’s own time zone changes no period', async (t) => {
  const client = await pool.connect()
  try {
    const found = new Set<string>()
    for (const zone of ['UTC', 'Pacific/Kiritimati', 'America/Santiago']) {
      await client.query(`select set_config('timezone', $1, false)`, [zone])
      const { rows } = await client.query(`
        select extract(epoch from b.starts_at) as starts, extract(epoch from b.ends_at) as ends
        from (values ('hour'), ('day'), ('week'), ('month'), ('total')) k(period),
          copilot_internal.period_bounds(k.period, 'Asia/Kathmandu', 3, 31, '2026-03-29T00:30:00Z') b`)
      found.add(JSON.stringify(rows))
    }
    t.equal(found.size, 1)
  } finally {
    client.release(true)
  }
})

t.test('in any zone at any moment, periods are half-open, without gaps and overlaps', async (t) => {
  const { rows: zones } = await pool.query<{ name: string }>(
    `select name from pg_timezone_names where name ~ '^[A-Z][a-z]+/' and name !~ '^(posix|Etc)' order by name`,
  )
  const micros = (iso: string) => Date.parse(iso) * 1000
  const setting = fc.record({
    period: fc.constantFrom('hour', 'day', 'week', 'month', 'total'),
    zone: fc.oneof(
      fc.constantFrom(...zones.map(({ name }) => name)),
      fc.constantFrom(
        'Europe/Dublin',
        'America/Santiago',
        'Africa/Cairo',
        'Pacific/Apia',
        'Atlantic/Azores',
        'America/Havana',
        'Asia/Beirut',
      ),
    ),
    week: fc.integer({ min: 1, max: 7 }),
    day: fc.oneof(fc.integer({ min: 1, max: 31 }), fc.integer({ min: 28, max: 31 })),
    at: fc.oneof(
      fc.integer({ min: micros('2011-01-01T00:00:00Z'), max: micros('2060-01-01T00:00:00Z') }),
      // Around the day that Apia skipped.
      fc.integer({ min: micros('2011-12-28T00:00:00Z'), max: micros('2012-01-02T00:00:00Z') }),
    ),
    // Or a moment within three hours of midnight, in a month in which clocks change.
    near: fc.option(
      fc.record({
        year: fc.integer({ min: 2011, max: 2037 }),
        month: fc.constantFrom(3, 4, 9, 10, 11),
        dayOfMonth: fc.integer({ min: 1, max: 30 }),
        minutes: fc.integer({ min: -180, max: 180 }),
      }),
      { freq: 3 },
    ),
  })
  const property = fc.asyncProperty(fc.array(setting, { minLength: 250, maxLength: 250 }), async (settings) => {
    const { rows } = await pool.query<Record<string, unknown>>(
      `with asked as (
         select k.*, coalesce(
             make_timestamptz(n.year, n.month, n."dayOfMonth", 0, 0, 0, k.zone) + n.minutes * interval '1 minute',
             timestamptz 'epoch' + k.at * interval '1 microsecond') as moment
         from json_to_recordset($1) k(period text, zone text, week integer, day integer, at bigint, near json),
           json_to_record(coalesce(k.near, '{}')) n(year integer, month integer, "dayOfMonth" integer, minutes integer)
       )
       select a.period, a.zone, a.week, a.day, a.moment::text, b.starts_at::text, b.ends_at::text
       from asked a
       cross join lateral copilot_internal.period_bounds(a.period, a.zone, a.week, a.day, a.moment) b
       cross join lateral copilot_internal.period_bounds(a.period, a.zone, a.week, a.day, b.starts_at) first
       cross join lateral copilot_internal.period_bounds(a.period, a.zone, a.week, a.day, b.ends_at - interval '1 microsecond') last
       cross join lateral copilot_internal.period_bounds(a.period, a.zone, a.week, a.day, b.ends_at) next
       where not (b.starts_at <= a.moment and a.moment < b.ends_at
         and first = b and last = b and (next.starts_at = b.ends_at or a.period = 'total'))`,
      [JSON.stringify(settings)],
    )
    if (rows.length > 0) throw new Error(JSON.stringify(rows))
  })
  await t.resolves(fc.assert(property, { seed, numRuns: 40 }))
})

t.test('Postgres reads every accepted time zone as the service does, in winter and in summer', async (t) => {
  const isZone = formatsOf({ allowEmailIds: false })['time-zone']!
  const { rows } = await pool.query<{ name: string }>(
    'select name from pg_timezone_names union select abbrev from pg_timezone_abbrevs',
  )
  const zones = rows.map(({ name }) => name).filter(isZone)
  t.ok(zones.length > 400)
  for (const at of ['2026-01-15T12:00:00Z', '2026-07-15T12:00:00Z']) {
    const { rows: local } = await pool.query<{ zone: string; text: string }>(
      `select z as zone, to_char($1::timestamptz at time zone z, 'YYYY-MM-DD HH24:MI:SS') as text from unnest($2::text[]) z`,
      [at, zones],
    )
    const others = local.filter(({ zone, text }) => {
      // Swedes write dates as ISO 8601 does.
      const format = new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' })
      return format.format(new Date(at)) !== text
    })
    t.same(others, [], at)
  }
})
