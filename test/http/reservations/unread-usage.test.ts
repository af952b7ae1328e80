import t, { type Test } from 'tap'
import type { CommitItem, UnreadableUsage } from '../../../src/db/reservations/commit-spend.ts'
import { emitMissingPrices, emitUnreadUsage } from '../../../src/db/alerts/events.ts'
import { publishModelPrices } from '../../../src/db/prices/price-versions.ts'
import { setEnvironmentDefaults } from '../../../src/db/quotas/quota-defaults.ts'
import { balancesOf } from '../../helpers/money/books.ts'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'
import { booking, hold, openSession } from '../../helpers/money/spend.ts'

const NOON = '2026-11-10T12:00:00Z'

const database = await createDatabase(t)
const { pool } = database
const session = openSession(t, database.url)
const { db } = session
const service = await startService(t, database.url)
await session.moveTo(NOON)
await setEnvironmentDefaults(db, [
  { scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: '50' },
  { scope: 'tenant', resource_type: 'e2b', period: 'day', limit_usd: '50' },
])
await publishModelPrices(db, [
  {
    provider: 'acme',
    model: 'priced',
    effective_date: '1970-01-01T00:00:00Z',
    source: 'test',
    usd_per_mtok: { input: '1' },
  },
])

const UNREAD: UnreadableUsage = {
  reasons: [
    { pointer: '/usage/3/tokens', message: 'must be a whole number' },
    { pointer: '', message: 'second' },
  ],
  provider_usage: { usage: [{ tokens: 1.5 }], cost: 0.1 },
}

/** An item that commits the reserved amount. */
function reserved(reservationId: string, changes: Partial<CommitItem> = {}): CommitItem {
  const { cost_usd: _, ...item } = booking(reservationId, 'reserved', { measure: 'reserved', ...changes })
  return item
}

/** A hold of a model call at noon. */
async function held(tenantId: string, usd: string, changes: Parameters<typeof hold>[2] = {}): Promise<string> {
  await session.moveTo(NOON)
  const item = hold(tenantId, usd, { provider: 'acme', model: 'priced', ...changes })
  await session.reserve(item)
  return item.reservation_id
}

/** The tenant's cost records as the API answers them, oldest first. */
async function linesOf(tenantId: string): Promise<Record<string, unknown>[]> {
  const { json } = await service.call('GET', `/v1/cost-records?tenant_id=${tenantId}`)
  return (json.data as Record<string, unknown>[]).toReversed()
}

const guarantee = (name: string, check: (t: Test) => Promise<void>) =>
  t.test(name, async (t) => {
    await check(t)
    await assertHealthy(t, pool)
  })

guarantee('unreadable usage is booked at the reserved amount, and its cost record keeps the object', async (t) => {
  const id = await held('unread', '3.000000000001')
  const item = reserved(id, { unreadable_usage: UNREAD })
  const [first] = await session.commit(item)
  t.match(first!.outcome, {
    committed: {
      status: 'committed',
      cost_usd: '3.000000000001',
      released_usd: '0',
      estimated: true,
      late: false,
      commit_price_id: null,
    },
  })
  t.same(await session.commit(item), [first], 'a repeat gets an answer and is not booked again')
  t.same(await balancesOf(pool, 'unread'), ['tenant day 2026-11-10T00 3.000000000001'])
  t.match(await linesOf('unread'), [
    {
      cost_record_id: item.cost_record_id,
      provider: 'acme',
      model: 'priced',
      usage: {},
      cost_usd: 3.000000000001,
      price_id: null,
      estimated: true,
      overrun: false,
      estimate_reason: 'usage_unreadable',
      unreadable_usage: UNREAD,
    },
  ])
  t.same((await linesOf('unread'))[0]!['usage'], {})
})

guarantee('usage with characters that Postgres cannot store is still booked', async (t) => {
  const odd = { 'a\0': ['\ud800', 'x\udfff\0', '\\u0000', '\\\0', 'tab\t"', '😀'] }
  await session.commit(reserved(await held('odd', '1'), { unreadable_usage: { reasons: [], provider_usage: odd } }))
  const kept = { 'a\ufffd': ['\ufffd', 'x\ufffd\ufffd', '\\u0000', '\\\ufffd', 'tab\t"', '😀'] }
  t.match(await linesOf('odd'), [{ cost_usd: 1, unreadable_usage: { provider_usage: kept } }])
})

guarantee('unknown usage is booked at the reserved amount, without an object', async (t) => {
  await session.commit(reserved(await held('unknown', '2')))
  const [line] = await linesOf('unknown')
  t.match(line, { cost_usd: 2, estimated: true, estimate_reason: 'usage_unknown' })
  t.notOk('unreadable_usage' in line!)
  await session.commit(booking(await held('known', '2'), '1'))
  const [known] = await linesOf('known')
  t.notOk('estimate_reason' in known! || 'unreadable_usage' in known!, 'a record that is not estimated has neither')
})

guarantee('the reserved amount fits a sandbox, a hold without a model, and another model that answered', async (t) => {
  const sandbox = await held('sandbox', '4', { resource_type: 'e2b', tier: 'small', region: 'us-east-1' })
  const [unfit] = await session.commit(reserved(sandbox, { unreadable_usage: UNREAD }))
  t.match(unfit!.outcome, { unfit: 'tokens' }, "a sandbox does not accept a model's usage, readable or not")
  const [run] = await session.commit(reserved(sandbox))
  t.match(run!.outcome, { committed: { cost_usd: /^4(\.0+)?$/, estimated: true } })
  t.match(await linesOf('sandbox'), [{ resource_type: 'e2b', cost_usd: 4, estimate_reason: 'usage_unknown' }])
  const nameless = hold('nameless', '1')
  await session.reserve(nameless)
  await session.commit(reserved(nameless.reservation_id, { unreadable_usage: UNREAD }))
  t.match(await linesOf('nameless'), [{ model: null, cost_usd: 1, unreadable_usage: UNREAD }])
  await session.commit(
    reserved(await held('other', '1'), { provider: 'elsewhere', model: 'new', unreadable_usage: UNREAD }),
  )
  t.match(await linesOf('other'), [{ provider: 'elsewhere', model: 'new', cost_usd: 1, price_id: null }])
})

guarantee('a commit with unreadable usage after a charged lapse is late and replaces the charge', async (t) => {
  const id = await held('lapsed', '5', { on_expiry: 'charge', ttl_seconds: 60 })
  await session.moveTo('2026-11-10T12:02:00Z')
  await session.pool.query('select copilot_internal.expire_reservations()')
  await session.moveTo('2026-11-11T09:00:00Z')
  const [settlement] = await session.commit(reserved(id, { unreadable_usage: UNREAD }))
  t.match(settlement!.outcome, { committed: { late: true, estimated: true, cost_usd: /^5(\.0+)?$/ } })
  const lines = await linesOf('lapsed')
  t.same(
    lines.map((line) => [line['cost_usd'], line['estimate_reason']].join(' ')).toSorted(),
    ['-5 lapse', '5 lapse', '5 usage_unreadable'].toSorted(),
  )
})

guarantee('a reversal negates the cost record and does not repeat the object', async (t) => {
  const item = reserved(await held('corrected', '6'), { unreadable_usage: UNREAD })
  await session.commit(item)
  const path = `/v1/cost-records/${item.cost_record_id}/correct`
  const { json } = await service.call('POST', path, { cost_usd: 1, reason: 'read by hand' })
  t.match(json.data, [{ cost_usd: -6, estimate_reason: 'usage_unreadable', usage: {} }, { cost_usd: 1 }])
  const lines = await linesOf('corrected')
  t.same(
    lines
      .map((line) =>
        [line['cost_usd'], line['estimated'], line['estimate_reason'], 'unreadable_usage' in line].join(' '),
      )
      .toSorted(),
    ['-6 true usage_unreadable false', '1 false  false', '6 true usage_unreadable true'],
  )
})

/** Events of a type, oldest first: their tenant and data. */
async function told(type: string, of: (data: Record<string, unknown>) => boolean = () => true) {
  const { json } = await service.call('GET', `/v1/events?type=${type}&limit=1000`)
  const events = json.data as { tenant_id: string | null; data: Record<string, unknown> }[]
  return events.filter(({ data }) => of(data)).map(({ tenant_id: tenantId, data }) => ({ tenant_id: tenantId, data }))
}

const unreadAt = (pointer: string, message = 'must be a whole number'): UnreadableUsage => ({
  reasons: [{ pointer, message }, ...UNREAD.reasons],
  provider_usage: null,
})

guarantee('unreadable usage emits one event a tenant, provider, place and day', async (t) => {
  const commitOf = async (tenantId: string, pointer: string, changes: Partial<CommitItem> = {}) => {
    const id = await held(tenantId, '1', { provider: 'telling' })
    await session.commit(reserved(id, { unreadable_usage: unreadAt(pointer), ...changes }))
  }
  await commitOf('told', '/usage/0/steps/12/tokens')
  await commitOf('told', '/usage/7/steps/0/tokens', { model: 'another' })
  await commitOf('told-too', '/usage/0/steps/1/tokens')
  await commitOf('told', '/usage/0')
  await commitOf('told', `/${'x'.repeat(300)}`)
  await commitOf('told', '', { provider: 'telling-2' })
  const data = { provider: 'telling', model: 'priced', reason: 'must be a whole number' }
  const expected = [
    { tenant_id: 'told', data: { ...data, pointer: '/usage/*/steps/*/tokens' } },
    { tenant_id: 'told-too', data: { ...data, pointer: '/usage/*/steps/*/tokens' } },
    { tenant_id: 'told', data: { ...data, pointer: '/usage/*' } },
    { tenant_id: 'told', data: { ...data, pointer: `/${'x'.repeat(199)}` } },
    { tenant_id: 'told', data: { ...data, pointer: '', provider: 'telling-2' } },
  ]
  const isOurs = ({ provider }: Record<string, unknown>) => String(provider).startsWith('telling')
  const sorted = (events: object[]) => events.map((event) => JSON.stringify(event, keysOf(event))).toSorted()
  t.same(sorted(await told('usage.unreadable', isOurs)), sorted(expected))
  t.same(await told('price.missing', isOurs), [], 'no price is missing')
  await session.commit(reserved(await held('untold', '1', { provider: 'telling' })))
  t.equal((await told('usage.unreadable', isOurs)).length, 5, 'unknown usage emits no event')

  const id = await held('told', '1', { provider: 'telling' })
  await session.moveTo('2026-11-11T00:00:00Z')
  await session.commit(reserved(id, { unreadable_usage: unreadAt('/usage/0') }))
  t.equal((await told('usage.unreadable', isOurs)).length, 6, 'the next day emits again')
})

const keysOf = (value: object): string[] =>
  Object.entries(value)
    .flatMap(([key, inner]) => [key, ...(typeof inner === 'object' && inner !== null ? keysOf(inner as object) : [])])
    .toSorted()

guarantee(
  'of one principal 50 places and fields a day are told, each type for itself, then that there are more',
  async (t) => {
    const principal = 'key:inventor'
    const invent = async (from: number, to: number) => {
      const holds = Array.from({ length: to - from }, () =>
        hold('inventor', '0.01', { principal, provider: 'inventing' }),
      )
      await session.reserve(...holds)
      await session.commit(
        ...holds.map((item, n) =>
          reserved(item.reservation_id, { model: 'm', unreadable_usage: unreadAt(`/invented-${from + n}`) }),
        ),
      )
    }
    await session.moveTo(NOON)
    await invent(0, 30)
    await invent(20, 49)
    const ofInventor = (data: Record<string, unknown>) =>
      data['provider'] === 'inventing' || data['principal'] === principal
    t.equal((await told('usage.unreadable', ofInventor)).length, 49, 'an emitted name does not count again')
    await invent(49, 70)
    await invent(70, 90)
    const places = await told('usage.unreadable', ofInventor)
    t.equal(places.length, 51)
    t.same(
      places.filter(({ data }) => 'principal' in data),
      [{ tenant_id: 'inventor', data: { principal, more_than: 50 } }],
    )

    const fields = (from: number, to: number, provider = 'inventing') =>
      Array.from({ length: to - from }, (_, n) => ({ principal, provider, field: `/usage/${n}/invented_${from + n}` }))
    await emitUnreadUsage(db, [...fields(0, 40), ...fields(0, 40)])
    await emitUnreadUsage(db, fields(10, 49))
    t.equal((await told('usage.unread', ofInventor)).length, 49)
    await emitUnreadUsage(db, fields(49, 60))
    await emitUnreadUsage(db, fields(60, 70))
    const unread = await told('usage.unread', ofInventor)
    t.equal(unread.length, 51)
    t.same(
      unread.filter(({ data }) => 'principal' in data),
      [{ tenant_id: null, data: { principal, more_than: 50 } }],
    )
    await emitUnreadUsage(db, [
      { principal: 'key:honest', provider: null, field: '/usage/3/tokens' },
      ...['a', 'b'].map((model) => ({
        principal: 'key:honest',
        provider: null,
        field: `/modelUsage/${model}/costUSD`,
      })),
    ])
    t.same(
      (await told('usage.unread', ({ field }) => /\*\/(tokens|costUSD)/.test(String(field))))
        .map(({ data }) => String(data['field']))
        .toSorted(),
      ['/modelUsage/*/costUSD', '/usage/*/tokens'],
      'another principal has its own count',
    )
    await emitMissingPrices(db, [{ principal, tenantId: 'inventor', provider: 'inventing', model: 'm' }])
    t.equal((await told('price.missing', ofInventor)).length, 1, 'another event type has its own count')
  },
)
