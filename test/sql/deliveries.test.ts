import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import t, { type Test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'

const START = '2026-11-25T12:00:00Z'

type Endpoint = {
  kind?: string
  types?: string[]
  tenant_id?: string | null
  scope?: string | null
  enabled?: boolean
  created_at?: string
}

/** A separate database with one session, whose clock the test sets. */
async function open(t: Test) {
  const { pool } = await createDatabase(t)
  const client = await pool.connect()
  t.teardown(() => client.release())
  const setNow = (at: string) => client.query(`select set_config('purser.fake_now', $1, false)`, [at])
  await setNow(START)
  return {
    pool,
    client,
    setNow,
    endpoint: async (of: Endpoint = {}) => {
      const id = randomUUID()
      const { kind = 'webhook', types = [], tenant_id = null, scope = null, enabled = true, created_at = START } = of
      await client.query(
        `insert into copilot_internal.webhook_endpoints
           (endpoint_id, kind, url, recipients, types, tenant_id, scope, enabled, created_at, updated_at)
         values ($1, $2, case when $2 <> 'email' then 'https://example.com' end, case when $2 = 'email' then array['a@b'] end,
                 $3, $4, $5, $6, $7, $7)`,
        [id, kind, types, tenant_id, scope, enabled, created_at],
      )
      return id
    },
  }
}

type Told = { type?: string; tenant_id?: string | null; user_id?: string | null; data?: object; at?: string }

async function tell(client: pg.ClientBase, of: Told = {}): Promise<string> {
  const { type = 'cost.anomaly', tenant_id = null, user_id = null, data = {}, at = START } = of
  const { rows } = await client.query<{ event_id: string }>(
    `insert into copilot_internal.quota_events (event_id, type, created_at, tenant_id, user_id, once_key, data)
     values (copilot_internal.uuid_v7($1::timestamptz), $2, $1, $3, $4, $5, $6) returning event_id`,
    [at, type, tenant_id, user_id, randomUUID(), data],
  )
  return rows[0]!.event_id
}

const fanOut = async (client: pg.ClientBase, max = 1_000) =>
  (await client.query<{ n: number }>('select copilot_internal.fan_out_events($1) as n', [max])).rows[0]!.n

type Claim = {
  delivery_id: string
  endpoint_id: string
  attempt: number
  event: { event_id: string }
  secrets: string[]
}
const claim = async (client: pg.ClientBase, ids: string[] = [], inFlight: number[] = []) =>
  (await client.query<Claim>('select * from copilot_internal.claim_deliveries($1, $2)', [ids, inFlight])).rows

const settle = (client: pg.ClientBase, outcomes: object[]) =>
  client.query('select copilot_internal.settle_deliveries($1)', [JSON.stringify(outcomes)])

const failed = ({ delivery_id, attempt }: Claim, more: object = {}) => ({
  ...{ delivery_id, attempt, delivered: false, status: 500, error: 'answered 500', gone: false },
  ...more,
})

async function queued(client: pg.ClientBase, eventId: string): Promise<string[]> {
  const { rows } = await client.query<{ endpoint_id: string }>(
    'select endpoint_id from copilot_internal.webhook_deliveries where event_id = $1',
    [eventId],
  )
  return rows.map(({ endpoint_id: id }) => id).toSorted()
}

t.test('an event is queued once for each endpoint whose types, tenant and scope match', async (t) => {
  const { pool, client, endpoint } = await open(t)
  const all = await endpoint()
  const warnings = await endpoint({ types: ['quota.warning', 'quota.exceeded'] })
  const acme = await endpoint({ tenant_id: 'acme' })
  const users = await endpoint({ scope: 'user' })
  const platform = await endpoint({ scope: 'platform' })
  await endpoint({ enabled: false })
  await endpoint({ created_at: '2026-11-25T12:00:01Z' })
  const cases: [told: Told, to: string[]][] = [
    [{}, [all, platform]],
    [{ tenant_id: 'acme' }, [all, acme]],
    [{ tenant_id: 'other', user_id: 'u' }, [all, users]],
    [{ type: 'quota.warning', tenant_id: 'acme', user_id: 'u', data: { scope: 'user' } }, [all, warnings, acme, users]],
    [{ type: 'quota.exceeded', data: { scope: 'platform' } }, [all, warnings, platform]],
    [{ type: 'delivery.failed', data: { endpoint_id: all } }, [platform]],
    [{ type: 'price.missing', tenant_id: 'acme' }, [all, acme, platform]],
    [{ type: 'price.missing', tenant_id: 'other' }, [all, platform]],
    [{ type: 'usage.unreadable', tenant_id: 'acme' }, [all, acme, platform]],
    [{ type: 'usage.unread' }, [all, platform]],
  ]
  const ids = []
  for (const [told] of cases) ids.push(await tell(client, told))
  t.equal(await fanOut(client, 4), 4, 'events are queued in steps')
  t.equal(await fanOut(client), 6)
  t.equal(await fanOut(client), 0)
  for (const [n, [told, to]] of cases.entries())
    t.same(await queued(client, ids[n]!), to.toSorted(), JSON.stringify(told))
  await assertHealthy(t, pool)
})

const BY_PRIORITY = [
  ['quota.warning', 'quota.exceeded', 'cost.anomaly', 'integrity.broken'],
  ['quota.overrun', 'reservation.late', 'reservation.lapsed'],
  ['price.missing', 'price.stale', 'usage.unreadable', 'usage.unread', 'delivery.failed'],
]

t.test('a backlog of less important events does not delay more important ones', async (t) => {
  const { pool, client, setNow, endpoint } = await open(t)
  const hook = await endpoint()
  const mail = await endpoint({ kind: 'email' })
  // The least important events are the oldest.
  for (const [n, types] of BY_PRIORITY.toReversed().entries()) {
    await setNow(`2026-11-25T12:00:0${n}Z`)
    for (let event = 0; event < 40; event++) await tell(client, { type: types[event % types.length]! })
  }
  const typesQueued = async () => {
    const { rows } = await client.query<{ type: string }>(
      `select distinct e.type from copilot_internal.webhook_deliveries d join copilot_internal.quota_events e using (event_id)`,
    )
    return rows.map(({ type }) => type).toSorted()
  }
  t.equal(await fanOut(client, 40), 40)
  t.same(await typesQueued(), BY_PRIORITY[0]!.toSorted())
  t.equal(await fanOut(client, 40), 40)
  t.same(await typesQueued(), BY_PRIORITY.slice(0, 2).flat().toSorted())
  t.equal(await fanOut(client), 40)

  const settleAll = async (claims: Claim[]) =>
    settle(
      client,
      claims.map((one) => ({ ...failed(one), delivered: true, status: 200, error: null })),
    )
  /** How many deliveries of each priority are claimed next for both endpoints, while `inFlight` attempts run. */
  const next = async (inFlight: [hook: number, mail: number]) => {
    const claims = await claim(client, [hook, mail], inFlight)
    const counted = [hook, mail].map((id) =>
      BY_PRIORITY.map(
        (types) =>
          claims.filter(({ endpoint_id: to, event }) => to === id && types.includes((event as unknown as Told).type!))
            .length,
      ),
    )
    return { claims, counted }
  }
  const first = await next([0, 0])
  t.same(first.counted, [
    [20, 0, 0],
    [4, 0, 0],
  ])
  await settleAll(first.claims)
  const second = await next([5, 0])
  t.same(second.counted, [
    [15, 0, 0],
    [4, 0, 0],
  ])
  await settleAll(second.claims)
  t.same((await next([0, 4])).counted, [
    // The rest of the first priority, and as many of the second as leave a quarter of the attempts free.
    [5, 10, 0],
    [0, 0, 0],
  ])
  const deliverBefore = (endpointId: string) =>
    client.query(
      `update copilot_internal.webhook_deliveries set status = 'delivered', next_attempt_at = null, settled_at = now()
       where endpoint_id = $1 and priority < 2`,
      [endpointId],
    )
  await deliverBefore(hook)
  t.same((await next([0, 4])).counted, [
    [0, 0, 10],
    [0, 0, 0],
  ])
  t.same((await next([10, 4])).counted[0], [0, 0, 0], 'half of the attempts are kept free for more important events')
  await deliverBefore(mail)
  t.same((await next([20, 0])).counted[1], [0, 0, 2])
  const alarm = await tell(client, { type: 'quota.exceeded' })
  await fanOut(client)
  t.match(
    (await claim(client, [hook, mail], [10, 4])).map(({ event }) => event.event_id),
    [alarm],
  )
  await assertHealthy(t, pool)
})

t.test('an event with a smaller id that commits late is not skipped', async (t) => {
  const { pool, client, endpoint } = await open(t)
  await endpoint()
  const slow = await pool.connect()
  await slow.query('begin')
  const late = await tell(slow, { at: START })
  const quick = await tell(client, { at: '2026-11-25T12:00:05Z' })
  t.equal(await fanOut(client), 1)
  t.equal((await queued(client, quick)).length, 1)
  await slow.query('commit')
  slow.release()
  t.equal(await fanOut(client), 1)
  t.equal((await queued(client, late)).length, 1)
  t.ok(late < quick)
})

t.test('two workers that fan out or claim at once share the work, and nothing is done twice', async (t) => {
  const { pool, client, setNow, endpoint } = await open(t)
  await endpoint()
  for (let n = 0; n < 10; n++) await tell(client)
  const other = await pool.connect()
  t.teardown(() => other.release())
  await client.query('begin')
  t.equal(await fanOut(client, 6), 6)
  t.equal(await fanOut(other), 4, 'the second worker leaves the events of the first alone')
  await client.query('commit')
  await setNow('2027-01-01T00:00:00Z')
  await other.query(`set purser.fake_now = '2027-01-01T00:00:00Z'`)
  await client.query('begin')
  const first = await claim(client)
  t.equal(first.length, 10)
  t.same(await claim(other), [])
  await client.query('commit')
  t.same(await claim(other), [], 'a delivery is not claimed during an attempt')
  await other.query(`set purser.fake_now = '2027-01-01T00:01:00Z'`)
  const again = await claim(other)
  t.same(
    again.map(({ attempt }) => attempt),
    Array(10).fill(2),
    'after a minute the worker of an unfinished attempt is considered dead, and others claim its deliveries',
  )
  await settle(
    client,
    first.map((one) => failed(one)),
  )
  const { rows } = await client.query(`select distinct status, last_status from copilot_internal.webhook_deliveries`)
  t.same(rows, [{ status: 'pending', last_status: null }], 'the failure of an overtaken attempt is ignored')
  await settle(client, [{ ...failed(first[0]!), delivered: true, status: 200, error: null }])
  const { rows: done } = await client.query(
    `select count(*)::integer as n from copilot_internal.webhook_deliveries where status = 'delivered'`,
  )
  t.same(done, [{ n: 1 }], 'but the success of an overtaken attempt counts')
})

t.test('a webhook has at most 20 attempts at once, a mailbox 4, each without affecting other endpoints', async (t) => {
  const { client, endpoint } = await open(t)
  const hook = await endpoint()
  const mail = await endpoint({ kind: 'email' })
  for (let n = 0; n < 30; n++) await tell(client)
  await fanOut(client)
  const counts = (claims: Claim[]) => [hook, mail].map((id) => claims.filter((one) => one.endpoint_id === id).length)
  t.same(counts(await claim(client, [hook], [15])), [5, 4])
  t.same(counts(await claim(client, [hook, mail], [20, 4])), [0, 0])
  t.same(counts(await claim(client, [hook, mail], [25, 3])), [0, 1])
})

t.test(
  'attempts follow their schedule; the last failure emits delivery.failed, and the failure of that one emits nothing',
  async (t) => {
    const { pool, client, setNow, endpoint } = await open(t)
    const broken = await endpoint()
    const watcher = await endpoint({ types: ['delivery.failed'] })
    const event = await tell(client, { tenant_id: 'acme' })
    await fanOut(client)
    const delays = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]
    let now = new Date(START)
    for (const [n, seconds] of delays.entries()) {
      const [one, ...more] = await claim(client)
      t.match(one, { attempt: n + 1, endpoint_id: broken, event: { event_id: event } })
      t.equal(more.length, 0)
      await settle(client, [failed(one!)])
      const { rows } = await client.query<{ next_attempt_at: Date; status: string }>(
        'select next_attempt_at, status from copilot_internal.webhook_deliveries',
      )
      const waited = (rows[0]!.next_attempt_at.getTime() - now.getTime()) / 1_000
      t.ok(waited >= seconds && waited <= seconds * 1.1, `${waited} s after attempt ${n + 1}`)
      now = new Date(now.getTime() + (seconds - 1) * 1_000)
      await setNow(now.toISOString())
      t.same(await claim(client), [], 'no attempt is claimed before its time')
      // Postgres counts microseconds, which a Date does not hold.
      now = new Date(rows[0]!.next_attempt_at.getTime() + 1)
      await setNow(now.toISOString())
    }
    const [last] = await claim(client)
    t.equal(last!.attempt, 10)
    await settle(client, [failed(last!)])
    await assertHealthy(t, pool)
    const { rows: told } = await client.query(
      `select event_id, tenant_id, data from copilot_internal.quota_events where type = 'delivery.failed'`,
    )
    t.match(told, [
      {
        tenant_id: null,
        data: {
          delivery_id: last!.delivery_id,
          endpoint_id: broken,
          kind: 'webhook',
          endpoint_disabled: false,
          failed_event_id: event,
          failed_type: 'cost.anomaly',
          attempts: 10,
          last_status: 500,
          last_error: 'answered 500',
        },
      },
    ])
    t.equal(await fanOut(client), 1)
    t.same(await queued(client, told[0].event_id), [watcher])
    for (let attempt = 1; attempt <= 10; attempt++) {
      now = new Date(now.getTime() + 100_000_000)
      await setNow(now.toISOString())
      await settle(
        client,
        (await claim(client)).map((one) => failed(one)),
      )
    }
    t.equal(await fanOut(client), 0, 'a failed delivery.failed emits no event, otherwise there would be no end')
    const { rows } = await client.query(`select status, attempts from copilot_internal.webhook_deliveries`)
    t.same(rows, [
      { status: 'failed', attempts: 10 },
      { status: 'failed', attempts: 10 },
    ])
    await assertHealthy(t, pool)
    await client.query(`delete from copilot_internal.quota_events where type = 'delivery.failed'`)
    const { rows: found } = await client.query(`select invariant, subject from copilot_internal.check_integrity()`)
    t.same(
      found,
      [{ invariant: 'I10', subject: `delivery ${last!.delivery_id}` }],
      'the integrity check finds a failure without an event',
    )
  },
)

t.test('Retry-After delays the next attempt by at most a day, and never makes it earlier', async (t) => {
  const { client, setNow, endpoint } = await open(t)
  await endpoint()
  await tell(client)
  await fanOut(client)
  let now = new Date(START)
  for (const [asked, from, to] of [
    [120, 120, 120],
    [1, 300, 330],
    [1_000_000, 86_400, 86_400],
  ] as const) {
    const [one] = await claim(client)
    await settle(client, [failed(one!, { status: 503, retry_after_seconds: asked })])
    const { rows } = await client.query<{ next_attempt_at: Date }>(
      'select next_attempt_at from copilot_internal.webhook_deliveries',
    )
    const waited = (rows[0]!.next_attempt_at.getTime() - now.getTime()) / 1_000
    t.ok(waited >= from && waited <= to, `${waited} s for ${asked}`)
    // Postgres counts microseconds, which a Date does not hold.
    now = new Date(rows[0]!.next_attempt_at.getTime() + 1)
    await setNow(now.toISOString())
  }
})

t.test('410 disables the endpoint and fails the delivery with an event; its other deliveries wait', async (t) => {
  const { pool, client, endpoint } = await open(t)
  const gone = await endpoint()
  const watcher = await endpoint({ types: ['delivery.failed'] })
  for (let n = 0; n < 25; n++) await tell(client)
  await fanOut(client)
  const claims = await claim(client)
  t.equal(claims.length, 20)
  await settle(client, [
    ...claims.slice(0, 2).map((one) => failed(one, { status: 410, gone: true })),
    ...claims.slice(2).map((one) => failed(one)),
  ])
  const { rows } = await client.query(`select enabled from copilot_internal.webhook_endpoints where endpoint_id = $1`, [
    gone,
  ])
  t.same(rows, [{ enabled: false }])
  t.same(await counts(client, gone), { failed: 2, pending: 23 })
  const event = await tell(client)
  t.equal(await fanOut(client), 3)
  t.same(await queued(client, event), [], 'nothing more is queued for the disabled endpoint')
  t.same(await counts(client, watcher), { pending: 2 })
  await client.query(`select set_config('purser.fake_now', '2026-12-25T12:00:00Z', false)`)
  const due = await claim(client)
  t.same([...new Set(due.map(({ endpoint_id: id }) => id))], [watcher])
  await client.query(`update copilot_internal.webhook_endpoints set enabled = true where endpoint_id = $1`, [gone])
  t.equal((await claim(client)).length, 20, 'an endpoint that is enabled again gets its waiting deliveries')
  await assertHealthy(t, pool)
})

async function counts(client: pg.ClientBase, endpointId: string) {
  const { rows } = await client.query<{ status: string; n: number }>(
    `select status, count(*)::integer as n from copilot_internal.webhook_deliveries where endpoint_id = $1 group by status order by status`,
    [endpointId],
  )
  return Object.fromEntries(rows.map(({ status, n }) => [status, n]))
}

t.test('the integrity check finds an event with a missing delivery, unless its endpoint was deleted', async (t) => {
  const { pool, client, endpoint } = await open(t)
  const [kept, dropped] = [await endpoint(), await endpoint()]
  const event = await tell(client)
  await fanOut(client)
  await client.query('delete from copilot_internal.webhook_endpoints where endpoint_id = $1', [dropped])
  await assertHealthy(t, pool)
  await client.query('delete from copilot_internal.webhook_deliveries where endpoint_id = $1', [kept])
  const { rows } = await client.query(`select * from copilot_internal.check_integrity()`)
  t.same(rows, [
    {
      invariant: 'I10',
      subject: `quota_event ${event}`,
      detail: `it was queued for endpoint ${kept}, but there is no delivery`,
    },
  ])
})

t.test('a test delivery has one attempt, and its failure emits no event', async (t) => {
  const { pool, client, endpoint } = await open(t)
  const id = await endpoint()
  await client.query(
    `insert into copilot_internal.webhook_deliveries (delivery_id, endpoint_id, status, next_attempt_at, created_at)
     values ($1, $2, 'pending', $3, $3)`,
    [randomUUID(), id, START],
  )
  const [one] = await claim(client)
  t.equal(one!.event, null)
  await settle(client, [failed(one!)])
  t.same(await counts(client, id), { failed: 1 })
  t.equal(await fanOut(client), 0)
  await assertHealthy(t, pool)
})
