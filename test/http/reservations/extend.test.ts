import t, { type Test } from 'tap'
import { uuidv7 } from 'uuidv7'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy as assertIntegrity } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'
import { openSession } from '../../helpers/money/spend.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')

const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  service.call(method, path, body, { ...caller, ...headers })
const reserve = (body: object) => call('POST', '/v1/reservations', { resource_type: 'llm', ...body })
const own = (tenantId: string, usd: number, more: object = {}) =>
  reserve({ tenant_id: tenantId, estimated_cost_usd: usd, ...more })
const extend = ({ json }: Answer, body: object, by = service) =>
  by.call('POST', `/v1/reservations/${json.reservation_id}/extend`, body, caller)
const read = async ({ json }: Answer) => (await call('GET', `/v1/reservations/${json.reservation_id}`)).json
const setQuota = (quota: object) => service.call('PUT', '/v1/quotas', { scope: 'tenant', period: 'day', ...quota })

const modelCall = (tenantId: string, more: object = {}) =>
  reserve({
    tenant_id: tenantId,
    llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 },
    ...more,
  })

async function balances(tenantId: string) {
  const { rows } = await database.pool.query<{ period: string; day: string; spent: string; reserved: string }>(
    `select period, to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD') as day, trim_scale(spent)::text as spent,
            trim_scale(reserved)::text as reserved
     from copilot_internal.quota_periods where tenant_id = $1 order by period, starts_at`,
    [tenantId],
  )
  return rows
}

/** A clock jump makes holds of other tests lapse. The sweeper would settle them within a second; this settles them at once. */
async function assertHealthy(t: Test): Promise<void> {
  await database.pool.query('select copilot_internal.expire_reservations()')
  await assertIntegrity(t, database.pool)
}

t.test('an extension holds a larger total at the reservation’s price, and repeating it changes nothing', async (t) => {
  const held = await modelCall('totals', { user_id: 'u', labels: { feature: 'chat' } })
  t.equal(held.json.reserved_usd, 0.05)
  const extended = await extend(held, { estimate: { max_output_tokens: 2_500 } })
  // 12,000 x 2.5 + 2,500 x 10 USD per million
  t.match(extended, { status: 200, json: { status: 'reserved', reserved_usd: 0.055, caps: null, warnings: [] } })
  t.match(extended.json.quotas, [{ scope: 'tenant', reserved_usd: 0.055, remaining_usd: 49.945 }])
  t.equal(extended.json.expires_at, held.json.expires_at, 'without a ttl it lives as long as before')
  const { quotas: _quotas, warnings: _warnings, ...reservation } = extended.json
  t.same(reservation, await read(held), 'a read shows the same reservation')
  for (const tokens of [2_500, 2_499, 0]) {
    const again = await extend(held, { estimate: { max_output_tokens: tokens } })
    t.same(again.json, extended.json, `${tokens} tokens change nothing`)
  }
  const committed = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    actual_cost_usd: 0.055,
  })
  t.match(committed.json, { reserved_usd: 0.055, overrun_usd: 0, released_usd: 0, late: false })
  await assertHealthy(t)
})

t.test('an extension prices the rest of the estimate again: tier, web searches, custom size', async (t) => {
  const llm = {
    provider: 'openai',
    model: 'gpt-6.1-sol',
    text: 'How long is a piece of string?',
    service_tier: 'batch',
    max_web_searches: 3,
  }
  const held = await reserve({ tenant_id: 'whole', llm: { ...llm, max_output_tokens: 10 } })
  const fresh = await reserve({ tenant_id: 'whole', llm: { ...llm, max_output_tokens: 5_000 } })
  const extended = await extend(held, { estimate: { max_output_tokens: 5_000 } })
  t.equal(extended.json.reserved_usd, fresh.json.reserved_usd)

  for (const size of [{ tier: 'medium' }, { vcpu: 2, memory_mib: 2048 }]) {
    const box = await call('POST', '/v1/reservations', {
      resource_type: 'e2b',
      tenant_id: 'whole',
      e2b: { ...size, max_seconds: 1_800 },
    })
    t.equal(box.json.reserved_usd, 0.0666)
    t.equal((await extend(box, { estimate: { max_seconds: 2_400.5 } })).json.reserved_usd, 0.0888185)
  }
  await assertHealthy(t)
})

t.test('a caller’s own estimate is replaced by the new one, exactly', async (t) => {
  const held = await own('own', 0.25)
  t.equal((await extend(held, { estimate: { estimated_cost_usd: 0.35 } })).json.reserved_usd, 0.35)
  t.equal(
    (await extend(held, { estimate: { estimated_cost_usd: '0.350000000001' } })).json.reserved_usd,
    0.350000000001,
  )
  t.equal((await extend(held, { estimate: { estimated_cost_usd: 0.1 } })).json.reserved_usd, 0.350000000001)
})

t.test('an extended hold expires at the later of the old time and now + ttl', async (t) => {
  const held = await own('longer', 1, { ttl_seconds: 300 })
  const shorter = await extend(held, { ttl_seconds: 1 })
  t.equal(shorter.json.expires_at, held.json.expires_at)
  const longer = await extend(held, { ttl_seconds: 600, estimate: { estimated_cost_usd: 2 } })
  t.ok(Date.parse(longer.json.expires_at) - Date.parse(held.json.created_at) >= 600_000)
  t.ok(Date.parse(longer.json.expires_at) - Date.parse(held.json.created_at) < 660_000)
  t.match(await read(held), { reserved_usd: 2, expires_at: longer.json.expires_at })
})

t.test('an estimate of the wrong kind is refused with a pointer to its field', async (t) => {
  const llm = await modelCall('unfit')
  const usd = await own('unfit', 1)
  const box = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'unfit',
    e2b: { max_seconds: 10 },
  })
  const wrong: [Answer, object, string][] = [
    [llm, {}, '/ttl_seconds'],
    [llm, { estimate: {} }, '/estimate/max_output_tokens'],
    [llm, { estimate: { max_seconds: 1, max_output_tokens: 1 } }, '/estimate/max_seconds'],
    [llm, { estimate: { max_seconds: 1 } }, '/estimate/max_seconds'],
    [llm, { estimate: { estimated_cost_usd: 1 } }, '/estimate/estimated_cost_usd'],
    [llm, { estimate: { max_output_tokens: 1_000_000_000_000_000 } }, '/estimate/max_output_tokens'],
    [usd, { estimate: { max_output_tokens: 1 } }, '/estimate/max_output_tokens'],
    [usd, { estimate: { estimated_cost_usd: -1 } }, '/estimate/estimated_cost_usd'],
    [usd, { estimate: { estimated_cost_usd: '999999999.9999999999999' } }, '/estimate/estimated_cost_usd'],
    [box, { estimate: { max_output_tokens: 1 } }, '/estimate/max_output_tokens'],
    [box, { estimate: { max_seconds: 86_401 } }, '/estimate/max_seconds'],
    [box, { ttl_seconds: 90_001 }, '/ttl_seconds'],
    [box, { ttl_seconds: 1, reason: 'x' }, '/reason'],
  ]
  for (const [held, body, pointer] of wrong) {
    t.match(
      await extend(held, body),
      { status: 400, json: { code: 'invalid_request', errors: [{ pointer }] } },
      JSON.stringify(body),
    )
  }
  t.match(await read(llm), { reserved_usd: 0.05 })
})

t.test('a bound key extends its own tenant’s reservation and cannot find another tenant’s', async (t) => {
  const [mine, theirs] = [await service.keyFor('service', 'mine'), await service.keyFor('service', 'theirs')]
  const viewer = await service.keyFor('viewer')
  const held = await own('mine', 1)
  const path = `/v1/reservations/${held.json.reservation_id}/extend`
  const body = { ttl_seconds: 60, estimate: { estimated_cost_usd: 2 } }
  t.match(await call('POST', path, body, theirs), { status: 404, json: { code: 'not_found' } })
  t.match(await call('POST', path, { ttl_seconds: 60 }, theirs), { status: 404, json: { code: 'not_found' } })
  t.match(await call('POST', path, body, viewer), { status: 403 })
  t.match(await call('POST', `/v1/reservations/${uuidv7()}/extend`, body), { status: 404 })
  t.match(await read(held), { reserved_usd: 1 })
  t.match(await call('POST', path, body, mine), { status: 200, json: { reserved_usd: 2 } })

  const session = openSession(t, database.url)
  const item = { reservation_id: held.json.reservation_id, tenant_id: 'theirs', total: null, ttl_seconds: 60 }
  t.same(await session.extend(item), [{ unknown: true }], 'Postgres checks the tenant too')
})

t.test('a settled or lapsed reservation is not extended, whether it was swept or not', async (t) => {
  const notOpen = { status: 409, json: { code: 'reservation_not_open' } }
  const committed = await own('closed', 1)
  await call('POST', `/v1/reservations/${committed.json.reservation_id}/commit`, { actual_cost_usd: 1 })
  t.match(await extend(committed, { ttl_seconds: 60 }), notOpen)
  const released = await own('closed', 1)
  await call('POST', `/v1/reservations/${released.json.reservation_id}/release`, {})
  t.match(await extend(released, { estimate: { estimated_cost_usd: 2 } }), notOpen)

  const lapsed = await own('closed', 1, { ttl_seconds: 600 })
  const item = { reservation_id: lapsed.json.reservation_id, tenant_id: null, total: null, ttl_seconds: 60 }
  const session = openSession(t, database.url)
  // This connection waits in front of the sweeper's.
  await session.moveTo(new Date(Date.parse(lapsed.json.expires_at) + 1).toISOString())
  t.same(await session.extend(item), [{ closed: true }])
  t.match(await read(lapsed), { status: 'reserved', expires_at: lapsed.json.expires_at })
  await assertHealthy(t)
})

t.test('an extension above a limit is refused, and the hold stays unchanged', async (t) => {
  await setQuota({ tenant_id: 'tight', limit_usd: 1 })
  const held = await own('tight', 0.6)
  const other = await own('tight', 0.1)
  const before = await read(held)
  const refused = await extend(held, { ttl_seconds: 9_000, estimate: { estimated_cost_usd: 0.95 } })
  t.equal(refused.status, 429)
  const { violations: _violations, ...body } = refused.json
  t.match(body, {
    code: 'quota_exceeded',
    error: 'quota_exceeded',
    scope: 'tenant',
    scope_id: 'tight',
    period: 'day',
    limit_usd: 1,
    current_spend_usd: 0,
    // The whole new total counts beside the other holds.
    reserved_usd: 0.1,
    requested_usd: 0.95,
    overage_usd: 0.05,
    largest_allowed_usd: 0.9,
    detail: 'tenant tight has 0.90 of 1.00 USD left today for the whole of this hold; 0.95 in all was asked for',
  })
  t.match(refused.json.violations, [{ limit_usd: 1, spent_usd: 0, reserved_usd: 0.1, remaining_usd: 0.9 }])
  t.ok(Number(refused.headers.get('retry-after')) > 0)
  t.equal(
    (await extend(held, { estimate: { estimated_cost_usd: 1.1 } })).headers.get('retry-after'),
    null,
    'more than the limit: waiting does not help',
  )
  t.same(await read(held), before)
  t.match((await extend(held, { estimate: { estimated_cost_usd: 0.9 } })).json, { reserved_usd: 0.9 })
  await call('POST', `/v1/reservations/${other.json.reservation_id}/release`, {})
  t.match((await extend(held, { estimate: { estimated_cost_usd: 1 } })).json, { reserved_usd: 1 })

  await setQuota({ tenant_id: 'tight', limit_usd: 0.5 })
  t.match((await extend(held, { ttl_seconds: 600 })).status, 200, 'more time alone adds no money')
  t.match(
    (await extend(held, { estimate: { estimated_cost_usd: 0.7 } })).status,
    200,
    'a smaller total adds no money either',
  )
  t.match(await extend(held, { estimate: { estimated_cost_usd: 1.01 } }), {
    status: 429,
    json: { largest_allowed_usd: 0.5 },
  })
  await assertHealthy(t)
})

t.test('every quota that applies decides an extension, and a bound key sees no platform amounts', async (t) => {
  await setQuota({ scope: 'user', tenant_id: 'deep', user_id: 'u', period: 'total', limit_usd: 2 })
  await setQuota({ scope: 'platform', resource_type: 'e2b', limit_usd: 3 })
  const held = await own('deep', 1, { user_id: 'u' })
  t.match((await extend(held, { estimate: { estimated_cost_usd: 3 } })).json, { scope: 'user', period: 'total' })
  t.match(await balances('deep'), [
    { period: 'day', reserved: '1' },
    { period: 'total', reserved: '1' },
  ])

  const bound = await service.keyFor('service', 'deep')
  const box = await call('POST', '/v1/reservations', { resource_type: 'e2b', estimated_cost_usd: 1 }, bound)
  const path = `/v1/reservations/${box.json.reservation_id}/extend`
  t.match(await call('POST', path, { estimate: { estimated_cost_usd: 4 } }, bound), {
    status: 429,
    json: { scope: 'platform', limit_usd: null, current_spend_usd: null, requested_usd: 4 },
  })
  await assertHealthy(t)
})

t.test('a cap grows with the total and ends once the total covers the first request', async (t) => {
  await setQuota({ tenant_id: 'capped', limit_usd: 0.033129 })
  const held = await modelCall('capped', { allow_caps: true })
  t.match(held.json, { reserved_usd: 0.03312, caps: { max_output_tokens: 312 } })
  t.match((await extend(held, { estimate: { max_output_tokens: 312 } })).json, { caps: { max_output_tokens: 312 } })
  t.equal(
    (await extend(held, { estimate: { max_output_tokens: 313 } })).status,
    429,
    'the extension is granted in full or refused',
  )
  await setQuota({ tenant_id: 'capped', limit_usd: 1 })
  t.match((await extend(held, { estimate: { max_output_tokens: 500 } })).json, {
    reserved_usd: 0.035,
    caps: { max_output_tokens: 500 },
  })
  t.match((await extend(held, { estimate: { max_output_tokens: 400 } })).json, { caps: { max_output_tokens: 500 } })
  t.match((await extend(held, { estimate: { max_output_tokens: 2_000 } })).json, { reserved_usd: 0.05, caps: null })
  t.match((await extend(held, { estimate: { max_output_tokens: 3_000 } })).json, { reserved_usd: 0.06, caps: null })
  t.match(await read(held), { reserved_usd: 0.06, caps: null })

  await setQuota({ resource_type: 'e2b', tenant_id: 'capped', limit_usd: 0.0194 })
  const box = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'capped',
    allow_caps: true,
    e2b: { max_seconds: 1_800 },
  })
  t.match(box.json, { caps: { max_runtime_seconds: 641 } })
  await setQuota({ resource_type: 'e2b', tenant_id: 'capped', limit_usd: 1 })
  t.match((await extend(box, { estimate: { max_seconds: 1_000 } })).json, {
    reserved_usd: 0.03025,
    caps: { max_runtime_seconds: 1_000 },
  })
  t.match((await extend(box, { estimate: { max_seconds: 1_800 } })).json, { reserved_usd: 0.05445, caps: null })
  await assertHealthy(t)
})

t.test(
  'an extension passes a warn quota with a warning and an off quota silently; PURSER_ENFORCEMENT does the same',
  async (t) => {
    await setQuota({ tenant_id: 'warned', limit_usd: 1, enforcement: 'warn' })
    const held = await own('warned', 1)
    const above = await extend(held, { estimate: { estimated_cost_usd: 2 } })
    t.match(above, { status: 200, json: { reserved_usd: 2, warnings: [{ code: 'quota_exceeded' }] } })
    t.equal(above.headers.get('x-purser-enforcement'), 'warn')
    const again = await extend(held, { estimate: { estimated_cost_usd: 2 } })
    t.same(again.json.warnings, [], 'a repeat adds nothing, so it gives no warning')
    t.equal(again.headers.get('x-purser-enforcement'), null)

    await setQuota({ tenant_id: 'quiet', limit_usd: 1, enforcement: 'off' })
    t.match(await extend(await own('quiet', 1), { estimate: { estimated_cost_usd: 2 } }), {
      status: 200,
      json: { warnings: [], quotas: [{ reserved_usd: 2, enforcement: 'off' }] },
    })

    await setQuota({ tenant_id: 'rollout', limit_usd: 1 })
    const rollout = await own('rollout', 1)
    const body = { estimate: { estimated_cost_usd: 2 } }
    t.equal((await extend(rollout, body)).status, 429)
    const warning = await startService(t, database.url, { PURSER_ENFORCEMENT: 'warn' })
    t.match(await extend(rollout, body, warning), { status: 200, json: { warnings: [{ code: 'quota_exceeded' }] } })
    const off = await startService(t, database.url, { PURSER_ENFORCEMENT: 'off' })
    t.match(await extend(rollout, { estimate: { estimated_cost_usd: 3 } }, off), {
      status: 200,
      json: { warnings: [] },
    })
    await assertHealthy(t)
  },
)

t.test(
  'after a quota’s time zone changes, an extension holds the new total there and its closed balance refuses nothing',
  async (t) => {
    await setQuota({ tenant_id: 'zoned', limit_usd: 1 })
    const held = await own('zoned', 1)
    await setQuota({ tenant_id: 'zoned', limit_usd: 3, time_zone: 'Pacific/Kiritimati' })
    t.equal((await extend(held, { estimate: { estimated_cost_usd: 4 } })).status, 429)
    const extended = await extend(held, { estimate: { estimated_cost_usd: 2.5 } })
    t.match(extended.json, { reserved_usd: 2.5, quotas: [{ limit_usd: 3, reserved_usd: 2.5 }] })
    t.equal(extended.json.quotas.length, 1)
    await assertHealthy(t)
  },
)

t.test('twenty concurrent extensions never exceed a limit', async (t) => {
  await setQuota({ tenant_id: 'twenty', limit_usd: 3 })
  const other = await startService(t, database.url)
  const held = await Promise.all(Array.from({ length: 20 }, () => own('twenty', 0.1)))
  const answers = await Promise.all(
    held.map((one, n) => extend(one, { estimate: { estimated_cost_usd: 0.2 } }, n % 2 === 0 ? service : other)),
  )
  // 2.00 are held, 1.00 is left: ten times ten cents.
  t.equal(answers.filter(({ status }) => status === 200).length, 10)
  t.equal(answers.filter(({ status }) => status === 429).length, 10)
  t.match(await balances('twenty'), [{ reserved: '3' }])
  await assertHealthy(t)
})

t.test('twenty concurrent extensions of one reservation hold its largest total once', async (t) => {
  const held = await own('same', 1)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, n) => extend(held, { estimate: { estimated_cost_usd: 1 + (n + 1) / 20 } })),
  )
  for (const { status } of answers) t.equal(status, 200)
  t.match(await balances('same'), [{ reserved: '2' }])
  await assertHealthy(t)
})

t.test('extensions that run concurrently with commits and releases keep every invariant', async (t) => {
  const held = await Promise.all(Array.from({ length: 20 }, () => own('race', 0.5)))
  const answers = await Promise.all(
    held.flatMap((one, n) => [
      extend(one, { ttl_seconds: 600, estimate: { estimated_cost_usd: 1 } }),
      n % 2 === 0
        ? call('POST', `/v1/reservations/${one.json.reservation_id}/commit`, { actual_cost_usd: 0.75 })
        : call('POST', `/v1/reservations/${one.json.reservation_id}/release`, {}),
    ]),
  )
  for (const [n, { status }] of answers.entries()) t.ok(n % 2 === 0 ? [200, 409].includes(status) : status === 200)
  t.match(await balances('race'), [{ spent: '7.5', reserved: '0' }])
  await assertHealthy(t)
})

t.test('over midnight', async (t) => {
  t.teardown(() => setNow(database, null))

  t.test('an extension moves the whole hold to the current periods, where it is spent', async (t) => {
    await setNow(database, '2027-03-09T23:59:00Z')
    await setQuota({ tenant_id: 'moved', limit_usd: 5 })
    await setQuota({ tenant_id: 'moved', period: 'month', limit_usd: 8 })
    const held = await own('moved', 2, { ttl_seconds: 600 })
    await setNow(database, '2027-03-10T00:00:01Z')
    const extended = await extend(held, { estimate: { estimated_cost_usd: 3 } })
    t.match(extended, { status: 200, json: { reserved_usd: 3, created_at: '2027-03-09T23:59:00Z' } })
    const resets = extended.json.quotas.map((quota: { reset_at: string }) => quota.reset_at)
    t.same(resets.toSorted(), ['2027-03-11T00:00:00Z', '2027-04-01T00:00:00Z'])
    t.same(await balances('moved'), [
      { period: 'day', day: '2027-03-09', spent: '0', reserved: '0' },
      { period: 'day', day: '2027-03-10', spent: '0', reserved: '3' },
      { period: 'month', day: '2027-03-01', spent: '0', reserved: '3' },
    ])
    await assertHealthy(t)
    const committed = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
      actual_cost_usd: 2.5,
    })
    t.match(committed.json, { late: false, overrun_usd: 0, released_usd: 0.5 })
    t.match(await balances('moved'), [{ spent: '0' }, { spent: '2.5', reserved: '0' }, { spent: '2.5' }])
    await assertHealthy(t)
  })

  t.test('an extension that does not fit the new day is refused, and the hold stays on its day', async (t) => {
    await setNow(database, '2027-04-09T23:59:00Z')
    await setQuota({ tenant_id: 'stays', limit_usd: 5 })
    const held = await own('stays', 4, { ttl_seconds: 600 })
    await setNow(database, '2027-04-10T00:00:01Z')
    const morning = await own('stays', 2)
    t.equal(morning.status, 201)
    const before = await read(held)
    for (const body of [{ ttl_seconds: 3_600 }, { estimate: { estimated_cost_usd: 3.5 } }]) {
      t.match(
        await extend(held, body),
        {
          status: 429,
          json: { requested_usd: 4, reserved_usd: 2, overage_usd: 1, largest_allowed_usd: 3, period: 'day' },
        },
        'the whole hold would move, whatever the request adds',
      )
    }
    t.same(await read(held), before)
    t.match(await balances('stays'), [
      { day: '2027-04-09', reserved: '4' },
      { day: '2027-04-10', reserved: '2' },
    ])
    await call('POST', `/v1/reservations/${morning.json.reservation_id}/release`, {})
    t.equal((await extend(held, { ttl_seconds: 3_600 })).status, 200, 'more time alone moves the hold, if it fits')
    t.match(await balances('stays'), [
      { day: '2027-04-09', reserved: '0' },
      { day: '2027-04-10', reserved: '4' },
    ])
    await assertHealthy(t)
  })

  t.test('a month above its limit refuses only an added amount', async (t) => {
    await setNow(database, '2027-05-09T23:59:00Z')
    await setQuota({ tenant_id: 'month', limit_usd: 5 })
    await setQuota({ tenant_id: 'month', period: 'month', limit_usd: 8 })
    const held = await own('month', 2, { ttl_seconds: 600 })
    await setQuota({ tenant_id: 'month', period: 'month', limit_usd: 1 })
    await setNow(database, '2027-05-10T00:00:01Z')
    t.match(await extend(held, { estimate: { estimated_cost_usd: 2.5 } }), { status: 429, json: { period: 'month' } })
    t.equal((await extend(held, { ttl_seconds: 3_600 })).status, 200)
    t.match(await balances('month'), [
      { day: '2027-05-09', reserved: '0' },
      { day: '2027-05-10', reserved: '2' },
      { period: 'month', reserved: '2' },
    ])
    await assertHealthy(t)
  })

  t.test('holds that move concurrently never exceed the new day’s limit', async (t) => {
    await setNow(database, '2027-06-09T23:59:00Z')
    await setQuota({ tenant_id: 'together', limit_usd: 20 })
    const held = await Promise.all(Array.from({ length: 20 }, () => own('together', 1, { ttl_seconds: 600 })))
    await setQuota({ tenant_id: 'together', limit_usd: 10 })
    await setNow(database, '2027-06-10T00:00:01Z')
    const answers = await Promise.all(held.map((one) => extend(one, { ttl_seconds: 900 })))
    t.equal(answers.filter(({ status }) => status === 200).length, 10)
    t.equal(answers.filter(({ status }) => status === 429).length, 10)
    t.match(await balances('together'), [{ reserved: '10' }, { reserved: '10' }])
    await assertHealthy(t)
  })

  t.test('an extension uses the price of the day on which the hold was made', async (t) => {
    await setNow(database, '2026-11-30T23:59:00Z')
    await own('priced', 1)
    const llm = { provider: 'google', model: 'gemini-4-argon', input_tokens: 1_000 }
    const held = await reserve({ tenant_id: 'priced', ttl_seconds: 600, llm: { ...llm, max_output_tokens: 1_000 } })
    const request = { ...llm, max_output_tokens: 2_000 }
    const then = await reserve({ tenant_id: 'priced', llm: request })
    await setNow(database, '2026-12-01T00:00:01Z')
    await own('priced', 1)
    const now = await reserve({ tenant_id: 'priced', llm: request })
    const extended = await extend(held, { estimate: { max_output_tokens: 2_000 } })
    t.match(extended.json, { reserved_usd: then.json.reserved_usd, price_id: held.json.price_id })
    t.not(extended.json.reserved_usd, now.json.reserved_usd)
    await assertHealthy(t)
  })
})
