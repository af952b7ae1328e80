import t, { type Test } from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
await setNow(database, '2027-03-10T12:00:00Z')
const service = await startService(t, database.url)
const second = await startService(t, database.url)

const hold = (tenantId: string, usd: number, more: object = {}, instance = service) =>
  instance.call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: tenantId,
    estimated_cost_usd: usd,
    ...more,
  })

const commit = ({ json }: Answer, usd: number, instance = service) =>
  instance.call('POST', `/v1/reservations/${json.reservation_id}/commit`, { actual_cost_usd: usd })

async function spend(tenantId: string, usd: number) {
  const committed = await commit(await hold(tenantId, usd), usd)
  if (committed.status !== 200) throw new Error(committed.text)
}

const setLimit = (tenantId: string, usd: number, more: object = {}) =>
  service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: tenantId, period: 'day', limit_usd: usd, ...more })

async function eventsOf(
  tenantId: string,
): Promise<{ type: string; quota_id: number; data: Record<string, unknown> }[]> {
  const { json } = await service.call('GET', `/v1/events?tenant_id=${tenantId}`)
  return json.data
}

/** Types with their threshold or cause, sorted. The clock is stopped here, so ids do not show the order. */
const told = async (tenantId: string) =>
  (await eventsOf(tenantId))
    .map(({ type, data }) => [type, data['threshold'] ?? data['cause']].join(' ').trim())
    .toSorted()

/** A test that ends by checking every invariant. */
const guarantee = (name: string, check: (t: Test) => Promise<void>) =>
  t.test(name, async (t) => {
    await check(t)
    await assertHealthy(t, database.pool)
  })

guarantee('spent emits one event at each threshold, and one at the limit', async (t) => {
  await setLimit('steps', 10)
  await spend('steps', 7.999999999999)
  t.same(await told('steps'), [], 'just below the threshold')
  await spend('steps', 0.000000000001)
  t.same(await told('steps'), ['quota.warning 0.8'])
  const open = await hold('steps', 1.5)
  t.same(await told('steps'), ['quota.warning 0.8'], 'holds do not count')
  await spend('steps', 0.2)
  t.same(await told('steps'), ['quota.warning 0.8'], 'the threshold is not emitted again')
  await commit(await hold('steps', 0.1), 4)
  t.same(await told('steps'), ['quota.exceeded spent', 'quota.overrun', 'quota.warning 0.8', 'quota.warning 0.9'])
  const exceeded = (await eventsOf('steps')).find(({ type }) => type === 'quota.exceeded')!
  t.match(exceeded.data, {
    resource_type: 'llm',
    scope: 'tenant',
    scope_id: 'steps',
    period: 'day',
    period_starts_at: '2027-03-10T00:00:00Z',
    period_ends_at: '2027-03-11T00:00:00Z',
    limit_usd: 10,
    spent_usd: 12.2,
    reserved_usd: 1.5,
  })
  t.equal(typeof exceeded.quota_id, 'number')
  const [overrun] = (await eventsOf('steps')).filter(({ type }) => type === 'quota.overrun')
  t.match(overrun!.data, { reserved_usd: 0.1, cost_usd: 4, overrun_usd: 3.9, reservation_id: String })
  await service.call('POST', `/v1/reservations/${open.json.reservation_id}/release`, {})
})

guarantee('many refusals over two instances emit one quota.exceeded, and a later full limit emits none', async (t) => {
  await setLimit('storm', 1)
  await spend('storm', 0.5)
  const answers = await Promise.all(
    Array.from({ length: 64 }, (_, i) => hold('storm', 0.6, {}, i % 2 === 0 ? service : second)),
  )
  t.same([...new Set(answers.map(({ status }) => status))], [429])
  t.same(await told('storm'), ['quota.exceeded refusal'])
  await commit(await hold('storm', 0.1), 0.7)
  t.same(await told('storm'), ['quota.exceeded refusal', 'quota.overrun', 'quota.warning 0.8', 'quota.warning 0.9'])
})

guarantee('64 commits at once over two instances cross a threshold once', async (t) => {
  await setLimit('many', 1)
  const holds = await Promise.all(Array.from({ length: 64 }, () => hold('many', 0.015)))
  await Promise.all(holds.map((held, i) => commit(held, 0.015, i % 2 === 0 ? service : second)))
  t.same(await told('many'), ['quota.warning 0.8', 'quota.warning 0.9'])
})

guarantee('a changed limit allows its thresholds to emit again, and a lowered one emits at once', async (t) => {
  await setLimit('armed', 10)
  await spend('armed', 8)
  await setLimit('armed', 10)
  t.same(await told('armed'), ['quota.warning 0.8'], 'setting the same limit changes nothing')
  await setLimit('armed', 20)
  t.same(await told('armed'), ['quota.warning 0.8'])
  await setLimit('armed', 9.5)
  t.same(await told('armed'), ['quota.warning 0.8', 'quota.warning 0.8'])
  await setLimit('armed', 8)
  t.same(await told('armed'), ['quota.exceeded spent', ...Array(3).fill('quota.warning 0.8'), 'quota.warning 0.9'])
  await setLimit('armed', 100, { thresholds: [0.05] })
  t.ok((await told('armed')).includes('quota.warning 0.05'), 'the quota has its own thresholds')
})

guarantee('a raise replaces the limit for events; after it ends, the next cost emits by the old limit', async (t) => {
  await setLimit('raised', 10, { raise: { limit_usd: 100, until: '2027-03-10T14:00:00Z' } })
  await spend('raised', 50)
  t.same(await told('raised'), [])
  const held = await hold('raised', 1, { ttl_seconds: 86_400 })
  await setNow(database, '2027-03-10T14:00:00Z')
  await commit(held, 1)
  t.same(await told('raised'), ['quota.exceeded spent', 'quota.warning 0.8', 'quota.warning 0.9'])
})

guarantee('a warn quota emits events, an off quota does not', async (t) => {
  await setLimit('warned', 1, { enforcement: 'warn' })
  await setLimit('silent', 1, { enforcement: 'off' })
  t.match(await hold('warned', 2), { status: 201, json: { warnings: [{ code: 'quota_exceeded' }] } })
  await spend('silent', 2)
  t.same(await told('warned'), ['quota.exceeded refusal'])
  t.same(await told('silent'), [])
  await setLimit('silent', 1, { enforcement: 'warn' })
  t.same(await told('silent'), ['quota.exceeded spent', 'quota.warning 0.8', 'quota.warning 0.9'])
})

guarantee('a limit of 0 is exceeded by the first cost', async (t) => {
  await setLimit('nothing', 5)
  const open = await hold('nothing', 1)
  await setLimit('nothing', 0)
  t.same(await told('nothing'), [])
  await commit(open, 1)
  t.same(await told('nothing'), ['quota.exceeded spent', 'quota.warning 0.8', 'quota.warning 0.9'])
})

guarantee('each lapsed hold and each late commit emits one event', async (t) => {
  await setNow(database, '2027-03-11T10:00:00Z')
  const released = await hold('lapsing', 3, { ttl_seconds: 60 })
  const charged = await hold('lapsing', 4, { ttl_seconds: 60, on_expiry: 'charge' })
  await setNow(database, '2027-03-11T10:02:00Z')
  await swept('lapsing')
  t.match(
    (await eventsOf('lapsing'))
      .map(({ type, data }) => [type, data['reservation_id'], data['charged'], data['reserved_usd']].join(' '))
      .toSorted(),
    [
      `reservation.lapsed ${released.json.reservation_id} false 3`,
      `reservation.lapsed ${charged.json.reservation_id} true 4`,
    ].toSorted(),
  )
  await Promise.all([commit(released, 1), commit(released, 1, second), commit(charged, 2)])
  const late = (await eventsOf('lapsing')).filter(({ type }) => type === 'reservation.late')
  t.same(late.map(({ data }) => [data['cost_usd'], data['expired_at']].join(' ')).toSorted(), [
    '1 2027-03-11T10:01:00Z',
    '2 2027-03-11T10:01:00Z',
  ])
})

guarantee('commits of a model without a price emit one event a tenant, model and day', async (t) => {
  for (const tenant of ['unpriced', 'unpriced', 'elsewhere']) {
    const held = await hold(tenant, 1)
    const answer = await service.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
      usage: { input_tokens: 1, output_tokens: 1 },
      provider: 'openai',
      model: 'gpt-unheard-of',
    })
    t.match(answer.json, { estimated: true, cost_usd: 1 })
  }
  const { json } = await service.call('GET', '/v1/events?type=price.missing')
  t.same(
    json.data.map(({ tenant_id: tenant, data }: { tenant_id: string; data: object }) => [tenant, data]).toSorted(),
    ['elsewhere', 'unpriced'].map((tenant) => [tenant, { provider: 'openai', model: 'gpt-unheard-of' }]),
  )
})

guarantee('reservations of a model without a price are refused and emit one event a model and day', async (t) => {
  const ask = (model: string) =>
    service.call('POST', '/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'asking',
      llm: { provider: 'openai', model, input_tokens: 1, max_output_tokens: 1 },
    })
  const answers = await Promise.all([ask('gpt-refused'), ask('gpt-refused'), ask('gpt-refused-too')])
  t.same(
    answers.map(({ status }) => status),
    [422, 422, 422],
  )
  const { json } = await service.call('GET', '/v1/events?type=price.missing')
  const models = json.data.map(({ data }: { data: { model: string } }) => data.model)
  t.same(models.filter((model: string) => model.startsWith('gpt-refused')).toSorted(), [
    'gpt-refused',
    'gpt-refused-too',
  ])
})

const MISSING_MAX = 50

/** The tenant's price.missing events: how many name a model, and the other ones. */
async function missingOf(headers: Record<string, string>) {
  const { json } = await service.call('GET', '/v1/events?type=price.missing&limit=1000', undefined, headers)
  const events = json.data as { tenant_id: string; data: Record<string, unknown> }[]
  return {
    named: events.filter(({ data }) => 'model' in data).length,
    more: events.filter(({ data }) => !('model' in data)),
  }
}

guarantee('a key’s invented model names emit 50 events a day and one for the excess, from any route', async (t) => {
  const inventor = await service.keyFor('service', 'inventor')
  const honest = await service.keyFor('service', 'honest')
  const modelCall = (model: string) => ({
    resource_type: 'llm',
    llm: { provider: 'openai', model, input_tokens: 1, max_output_tokens: 1 },
  })
  const usage = { input_tokens: 1, output_tokens: 1 }
  /** The four routes by which a name without a price can arrive. */
  const ways: ((name: string, instance: typeof service) => Promise<Answer>)[] = [
    (name, of) => of.call('POST', '/v1/reservations', modelCall(name), inventor),
    (name, of) => of.call('POST', '/v1/reservations/check', modelCall(name), inventor),
    (name, of) =>
      of.call(
        'POST',
        '/v1/cost-records',
        { records: [{ resource_type: 'llm', llm: { provider: 'openai', model: name, usage } }] },
        inventor,
      ),
    async (name, of) => {
      const held = await of.call(
        'POST',
        '/v1/reservations',
        { resource_type: 'llm', estimated_cost_usd: 0.01 },
        inventor,
      )
      const path = `/v1/reservations/${held.json.reservation_id}/commit`
      return of.call('POST', path, { usage, provider: 'openai', model: name }, inventor)
    },
  ]
  const invent = (from: number, to: number) =>
    Promise.all(
      Array.from({ length: to - from }, (_, n) =>
        ways[n % ways.length]!(`invented-${from + n}`, n % 8 < 4 ? service : second),
      ),
    )
  const statuses = (answers: Answer[]) => [...new Set(answers.map(({ status }) => status))].toSorted((a, b) => a - b)
  t.same(statuses(await invent(0, MISSING_MAX - 2)), [200, 422])
  t.same(await missingOf(inventor), { named: MISSING_MAX - 2, more: [] })
  await invent(0, MISSING_MAX - 2)
  t.equal((await missingOf(inventor)).named, MISSING_MAX - 2, 'an emitted name does not count again')
  t.same(statuses(await invent(100, 160)), [200, 422], 'callers get the same answers as before')
  await invent(200, 260)
  const { named, more } = await missingOf(inventor)
  t.equal(named, MISSING_MAX)
  t.match(more, [{ tenant_id: 'inventor', data: { principal: /^key:/, more_than: MISSING_MAX } }])
  t.equal(more.length, 1)

  await service.call('POST', '/v1/reservations', modelCall('invented-200'), honest)
  t.match(await missingOf(honest), { named: 1, more: { length: 0 } }, 'another key has its own count')
  const { rows } = await database.pool.query(
    `select names >= $1 as full from copilot_internal.name_counts where type = 'price.missing' and tenant_id = 'inventor'`,
    [MISSING_MAX],
  )
  t.same(rows, [{ full: true }])
})

async function isPriceMissing(provider: string, model: string): Promise<boolean> {
  const { json } = await service.call('GET', '/v1/events?type=price.missing')
  const events = json.data as { data: { provider: string; model: string } }[]
  return events.some(({ data }) => data.provider === provider && data.model === model)
}

guarantee('a direct record of a model without a price is refused and emits an event', async (t) => {
  const llm = { provider: 'openai', model: 'gpt-unrecorded', usage: { input_tokens: 1, output_tokens: 1 } }
  const records = [{ resource_type: 'llm', tenant_id: 'recording', llm }]
  t.equal((await service.call('POST', '/v1/cost-records', { records })).status, 422)
  t.ok(await isPriceMissing('openai', 'gpt-unrecorded'))
})

guarantee('a sandbox that ran past the last known price emits an event with its tier', async (t) => {
  await database.pool.query(
    `insert into copilot_internal.e2b_pricing (tier, region, vcpu, memory_mib, usd_per_vcpu_second, usd_per_gib_second, effective_date, expires_at, source)
     values ('ending', 'us-east-1', 1, 1024, 1, 0, '2027-01-01', copilot_internal.clock_now() + interval '10 seconds', 'admin')`,
  )
  const e2b = { tier: 'ending', max_seconds: 5 }
  const held = await service.call('POST', '/v1/reservations', { resource_type: 'e2b', tenant_id: 'past', e2b })
  const path = `/v1/reservations/${held.json.reservation_id}/commit`
  t.match((await service.call('POST', path, { usage: { seconds: 11 } })).json, { estimated: true, cost_usd: 5 })
  t.ok(await isPriceMissing('e2b', 'ending'))
})

guarantee('refused extensions emit one event, as refused reservations do', async (t) => {
  await setLimit('longer', 10)
  const held = await hold('longer', 6)
  const extend = (usd: number) =>
    service.call('POST', `/v1/reservations/${held.json.reservation_id}/extend`, {
      estimate: { estimated_cost_usd: usd },
    })
  t.equal((await extend(10)).status, 200)
  t.same(await told('longer'), [], 'an extension that fits emits nothing')
  for (const usd of [11, 12]) t.equal((await extend(usd)).status, 429)
  t.same(await told('longer'), ['quota.exceeded refusal'])
  await setLimit('warned-longer', 10, { enforcement: 'warn' })
  const warned = await hold('warned-longer', 6)
  const path = `/v1/reservations/${warned.json.reservation_id}/extend`
  t.equal((await service.call('POST', path, { estimate: { estimated_cost_usd: 11 } })).status, 200)
  t.same(await told('warned-longer'), ['quota.exceeded refusal'])
})

guarantee('events are listed by type, time and page; a bound key sees its tenant’s', async (t) => {
  const all = (await service.call('GET', '/v1/events?limit=1000')).json.data as {
    event_id: string
    created_at: string
  }[]
  t.ok(all.length > 20)
  t.same(
    all.map(({ event_id: id }) => id),
    all
      .map(({ event_id: id }) => id)
      .toSorted()
      .toReversed(),
  )
  const walked: string[] = []
  let cursor = ''
  do {
    const { json } = await service.call('GET', `/v1/events?limit=7${cursor}`)
    walked.push(...json.data.map(({ event_id: id }: { event_id: string }) => id))
    cursor = json.next_cursor === null ? '' : `&cursor=${json.next_cursor}`
  } while (cursor !== '')
  t.same(
    walked,
    all.map(({ event_id: id }) => id),
  )
  const later = (await service.call('GET', '/v1/events?from=2027-03-11T10:02:00Z')).json.data
  t.same(later.length, all.filter(({ created_at: at }) => new Date(at) >= new Date('2027-03-11T10:02:00Z')).length)
  const viewer = await service.keyFor('viewer', 'steps')
  const seen = (await service.call('GET', '/v1/events', undefined, viewer)).json.data
  t.same([...new Set(seen.map(({ tenant_id: id }: { tenant_id: string }) => id))], ['steps'])
  t.equal((await service.call('GET', '/v1/events?tenant_id=storm', undefined, viewer)).status, 403)
  t.equal((await service.call('GET', '/v1/events?type=quota.unheard')).status, 400)
  t.equal((await service.call('GET', '/v1/events?cursor=xyz')).status, 400)
})

async function swept(tenantId: string): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query(
      `select from copilot_internal.reservations where tenant_id = $1 and status = 'reserved'`,
      [tenantId],
    )
    if (rows.length === 0) return
  }
}
