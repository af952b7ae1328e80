import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)

const hold = (tenantId: string, usd: number, more: object = {}) =>
  service.call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: tenantId,
    estimated_cost_usd: usd,
    ...more,
  })
const commit = ({ json }: Answer, usd: number) =>
  service.call('POST', `/v1/reservations/${json.reservation_id}/commit`, { actual_cost_usd: usd })
const release = ({ json }: Answer) => service.call('POST', `/v1/reservations/${json.reservation_id}/release`, {})
const put = (body: object) => service.call('PUT', '/v1/quotas', { scope: 'tenant', period: 'day', ...body })
const statusOf = async (tenantId: string, period = 'day') =>
  (await service.call('GET', `/v1/quotas/status?tenant_id=${tenantId}&resource_type=llm`)).json.data.find(
    (row: { scope: string; period: string }) => row.scope === 'tenant' && row.period === period,
  )

t.test('quotas are filtered by each part of the natural key, and paged without a gap', async (t) => {
  const made: number[] = []
  for (const body of [
    { tenant_id: 'list-a', limit_usd: 1 },
    { tenant_id: 'list-a', limit_usd: 2, period: 'month' },
    { tenant_id: 'list-a', limit_usd: 3, resource_type: 'e2b' },
    { scope: 'user', tenant_id: 'list-a', user_id: 'u', limit_usd: 4 },
    { tenant_id: 'list-b', limit_usd: 5 },
    { scope: 'platform', limit_usd: 6, period: 'total' },
  ]) {
    const { status, json } = await put(body)
    t.equal(status, 201)
    made.push(json.quota_id)
  }
  const limits = async (query: string) =>
    (await service.call('GET', `/v1/quotas?${query}`)).json.data.map((quota: { limit_usd: number }) => quota.limit_usd)
  t.same(await limits('tenant_id=list-a'), [1, 2, 3, 4])
  t.same(await limits('tenant_id=list-a&scope=tenant'), [1, 2, 3])
  t.same(await limits('user_id=u'), [4])
  t.same(await limits('tenant_id=list-a&resource_type=e2b'), [3])
  t.same(await limits('tenant_id=list-a&period=month'), [2])
  t.same(await limits('scope=platform'), [6])
  t.same(await limits('tenant_id=nobody'), [])

  const walked: number[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await service.call('GET', `/v1/quotas?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)
    t.ok(page.json.data.length <= 2)
    walked.push(...page.json.data.map((quota: { quota_id: number }) => quota.quota_id))
    cursor = page.json.next_cursor
  }
  t.same(walked, made)

  const bound = await service.keyFor('viewer', 'list-b')
  t.match((await service.call('GET', '/v1/quotas', undefined, bound)).json.data, [{ limit_usd: 5 }])
  t.equal((await service.call('GET', `/v1/quotas/${made[4]}`, undefined, bound)).status, 200)
  for (const id of [made[0], made[5]]) {
    t.equal(
      (await service.call('GET', `/v1/quotas/${id}`, undefined, bound)).status,
      404,
      'another tenant’s quota and the platform’s',
    )
    t.equal((await service.call('GET', `/v1/quotas/${id}/history`, undefined, bound)).status, 404)
  }
  t.equal((await service.call('PATCH', `/v1/quotas/${made[4]}`, { limit_usd: 9 }, bound)).status, 403)
  t.equal((await service.call('DELETE', `/v1/quotas/${made[4]}`, undefined, bound)).status, 403)
  await service.call('DELETE', `/v1/quotas/${made[5]}`)
})

t.test('a patch changes only the fields that it names', async (t) => {
  const made = await put({
    tenant_id: 'patched',
    limit_usd: 10,
    thresholds: [0.9, 0.5],
    time_zone: 'Asia/Kathmandu',
    week_starts_on: 7,
    billing_day: 31,
    enforcement: 'warn',
  })
  t.match(made, { status: 201, json: { thresholds: [0.5, 0.9], billing_day: 31 } })
  const path = `/v1/quotas/${made.json.quota_id}`
  const patched = await service.call('PATCH', path, { limit_usd: '12.000000000001' })
  t.equal(patched.status, 200)
  t.match(patched.text, '"limit_usd":12.000000000001')
  const { updated_at: _, limit_usd: __, ...rest } = made.json
  t.match(patched.json, rest, 'the other fields stay')
  t.same((await service.call('GET', path)).json, patched.json)

  t.match((await service.call('PATCH', path, { enforcement: 'enforce', thresholds: [1, 0.25] })).json, {
    enforcement: 'enforce',
    thresholds: [0.25, 1],
    time_zone: 'Asia/Kathmandu',
  })
  for (const [body, pointer] of [
    [{}, ''],
    [{ period: 'month' }, '/period'],
    [{ tenant_id: 'other' }, '/tenant_id'],
    [{ limit_usd: -1 }, '/limit_usd'],
    [{ raise: { limit_usd: 1 } }, '/raise/until'],
    [{ billing_day: 32 }, '/billing_day'],
    [{ time_zone: 'Nowhere/Else' }, '/time_zone'],
  ] as const) {
    const answer = await service.call('PATCH', path, body)
    t.match(answer, { status: 400, json: { code: 'invalid_request', errors: [{ pointer }] } }, JSON.stringify(body))
  }
  for (const id of ['999999', '0', 'seven', '1e400', '99999999999999999999']) {
    const { status } = await service.call('PATCH', `/v1/quotas/${id}`, { limit_usd: 1 })
    t.equal(status, id === '999999' ? 404 : 400, id)
  }
})

t.test('a raise applies until its end, and null ends it earlier', async (t) => {
  const made = await put({ tenant_id: 'raised', limit_usd: 10 })
  const path = `/v1/quotas/${made.json.quota_id}`
  t.equal((await hold('raised', 15)).status, 429)
  const until = new Date(Date.now() + 3_600_000).toISOString()
  t.match((await service.call('PATCH', path, { raise: { limit_usd: 20, until } })).json, {
    limit_usd: 10,
    raise: { limit_usd: 20, until },
  })
  t.match(await statusOf('raised'), { limit_usd: 20 })
  const held = await hold('raised', 15)
  t.match(held, { status: 201, json: { quotas: [{ limit_usd: 20, remaining_usd: 5 }] } })
  t.match((await service.call('GET', `${path}/history`)).json.data, [{ limit_usd: 20, reserved_usd: 15 }])
  t.match((await service.call('PATCH', path, { raise: null })).json, { raise: null })
  t.match(await statusOf('raised'), { limit_usd: 10, reserved_usd: 15, remaining_usd: 0 })
  t.equal((await hold('raised', 0.01)).status, 429)
  t.match((await commit(held, 12)).json, { cost_usd: 12 })
  await assertHealthy(t, database.pool)
})

t.test('a limit lowered below spent and held refuses reservations, and commits are still booked', async (t) => {
  const made = await put({ tenant_id: 'lowered', limit_usd: 100 })
  const first = await hold('lowered', 30)
  const second = await hold('lowered', 30)
  await commit(first, 25)
  const path = `/v1/quotas/${made.json.quota_id}`
  t.equal((await service.call('PATCH', path, { limit_usd: 20 })).status, 200)
  t.match(await hold('lowered', 0.01), {
    status: 429,
    json: { current_spend_usd: 25, reserved_usd: 30, limit_usd: 20 },
  })
  await assertHealthy(t, database.pool)
  t.match((await commit(second, 40)).json, { cost_usd: 40, overrun_usd: 10 })
  t.match(await statusOf('lowered'), { spent_usd: 65, reserved_usd: 0, remaining_usd: 0, percent_used: 325 })
  await assertHealthy(t, database.pool)
})

t.test('a quota that changes its time zone keeps its spent amount and its holds', async (t) => {
  const made = await put({ tenant_id: 'moved', limit_usd: 100 })
  const first = await hold('moved', 30)
  const second = await hold('moved', 7)
  await commit(first, 20)
  const path = `/v1/quotas/${made.json.quota_id}`
  for (const change of [{ time_zone: 'Pacific/Kiritimati' }, { time_zone: 'Asia/Kathmandu' }]) {
    t.equal((await service.call('PATCH', path, change)).status, 200)
    const { spent_usd: spent, reserved_usd: reserved } = await statusOf('moved')
    t.equal(reserved, 7)
    t.ok(spent === 20 || spent === 0, 'the amount booked in that zone’s day')
    await assertHealthy(t, database.pool)
  }
  t.equal((await service.call('PATCH', path, { time_zone: 'UTC' })).status, 200)
  t.match(await statusOf('moved'), { spent_usd: 20, reserved_usd: 7 })
  t.match((await commit(second, 6)).json, { cost_usd: 6, released_usd: 1 })
  t.match(await statusOf('moved'), { spent_usd: 26, reserved_usd: 0 })
  const { data } = (await service.call('GET', `${path}/history`)).json
  t.match(data, [{ spent_usd: 26, reserved_usd: 0, limit_usd: 100 }], 'closed balances are not counted twice')
  await assertHealthy(t, database.pool)
})

t.test('a deleted quota limits nothing, its holds settle, no default replaces it, and a PUT revives it', async (t) => {
  const made = await put({ tenant_id: 'deleted', limit_usd: 50 })
  const path = `/v1/quotas/${made.json.quota_id}`
  const [first, second, third] = [await hold('deleted', 20), await hold('deleted', 20), await hold('deleted', 10)]
  t.equal((await hold('deleted', 1)).status, 429)
  const gone = await service.call('DELETE', path)
  t.same([gone.status, gone.text], [204, ''])
  for (const [method, at, body] of [
    ['GET', path, undefined],
    ['GET', `${path}/history`, undefined],
    ['DELETE', path, undefined],
    ['PATCH', path, { limit_usd: 1 }],
  ] as const) {
    t.match(await service.call(method, at, body), { status: 404, json: { code: 'not_found' } }, `${method} ${at}`)
  }
  t.same((await service.call('GET', '/v1/quotas?tenant_id=deleted&resource_type=llm')).json.data, [])
  t.equal(await statusOf('deleted'), undefined)
  const free = await hold('deleted', 1_000)
  t.match(free, { status: 201, json: { quotas: [] } }, 'no quota limits it, and no default either')
  await commit(first, 12)
  await release(second)
  await assertHealthy(t, database.pool)

  const revived = await put({ tenant_id: 'deleted', limit_usd: 60, enforcement: 'enforce' })
  t.match(revived, { status: 201, json: { quota_id: made.json.quota_id, limit_usd: 60 } })
  t.match(await statusOf('deleted'), { spent_usd: 12, reserved_usd: 1_010 })
  t.equal((await hold('deleted', 0.01)).status, 429)
  await release(free)
  await commit(third, 9)
  t.match(await statusOf('deleted'), { spent_usd: 21, reserved_usd: 0, remaining_usd: 39 })
  t.match((await service.call('GET', `${path}/history`)).json.data, [{ spent_usd: 21, limit_usd: 60 }])
  await assertHealthy(t, database.pool)
})

t.test('history lists every period with a balance, and the current one first even without a balance', async (t) => {
  const made = await put({ tenant_id: 'history', limit_usd: 5 })
  const path = `/v1/quotas/${made.json.quota_id}/history`
  await database.pool.query(
    `insert into copilot_internal.quota_periods (quota_id, resource_type, scope, tenant_id, period, starts_at, ends_at, spent, opening_usd, limit_usd, enforcement, opened_at)
     select $1, 'llm', 'tenant', 'history', 'day', d, d + interval '1 day', n, n, 4, 'enforce', d
     from generate_series(1, 3) n, lateral (select date_trunc('day', now(), 'UTC') - n * interval '1 day' as d) d`,
    [made.json.quota_id],
  )
  await database.pool.query(`delete from copilot_internal.quota_periods where quota_id = $1 and spent = 0`, [
    made.json.quota_id,
  ])
  const first = await service.call('GET', `${path}?limit=2`)
  t.match(first.json.data, [
    { limit_usd: 5, spent_usd: 0, reserved_usd: 0 },
    { limit_usd: 4, spent_usd: 1 },
  ])
  t.equal(first.json.data[0].period_starts_at, first.json.data[1].period_ends_at)
  const second = await service.call('GET', `${path}?limit=2&cursor=${first.json.next_cursor}`)
  t.match(second.json, { data: [{ spent_usd: 2 }, { spent_usd: 3 }], next_cursor: null })
  t.match(await service.call('GET', `${path}?cursor=rubbish`), {
    status: 400,
    json: { errors: [{ pointer: 'cursor' }] },
  })
  t.equal((await service.call('GET', '/v1/quotas/999999/history')).status, 404)
})

t.test('a bulk change is made in full or not at all, and an error has its pointer', async (t) => {
  const quotas = Array.from({ length: 1_000 }, (_, n) => ({
    scope: 'tenant',
    tenant_id: `bulk-${n}`,
    period: 'day',
    limit_usd: n + 1,
  }))
  const held = await hold('bulk-7', 3)
  t.match(await service.call('PUT', '/v1/quotas/bulk', { quotas }), { status: 200, json: { made: 999, changed: 1 } })
  t.match(await statusOf('bulk-7'), { limit_usd: 8, reserved_usd: 3 })
  const again = await service.call('PUT', '/v1/quotas/bulk', { quotas: quotas.slice(0, 2).toReversed() })
  t.match(again.json, { made: 0, changed: 2, data: [{ tenant_id: 'bulk-1' }, { tenant_id: 'bulk-0' }] })

  const good = { scope: 'tenant', tenant_id: 'bulk-0', period: 'day', limit_usd: 77 }
  for (const [bodies, pointer] of [
    [[good, { ...good, tenant_id: 'x', limit_usd: -1 }], '/quotas/1/limit_usd'],
    [[good, { ...good, tenant_id: undefined }], '/quotas/1/tenant_id'],
    [[good, { ...good, scope: 'user' }], '/quotas/1/user_id'],
    [[good, { ...good, tenant_id: 'x', colour: 'red' }], '/quotas/1/colour'],
    [[good, { ...good, resource_type: 'llm' }], '/quotas/1'],
    [[], '/quotas'],
    [[...quotas, good], '/quotas'],
  ] as const) {
    const answer = await service.call('PUT', '/v1/quotas/bulk', { quotas: bodies })
    t.match(answer, { status: 400, json: { errors: [{ pointer }] } }, pointer)
  }
  t.match(await statusOf('bulk-0'), { limit_usd: 1 }, 'none of the changes was made')
  const service7 = await service.keyFor('service')
  t.equal((await service.call('PUT', '/v1/quotas/bulk', { quotas: [good] }, service7)).status, 403)
  await release(held)
  await assertHealthy(t, database.pool)
})

t.test('a quota change may take longer than the deadline of a decision', async (t) => {
  const { json: quota } = await put({ tenant_id: 'slow', limit_usd: 1 })
  // Longer than a decision's statement may take.
  await database.pool.query(`
    create function slow_write() returns trigger language plpgsql as $$ begin perform pg_sleep(2); return new; end $$;
    create trigger slow_write before insert on copilot_internal.cost_quotas
      for each statement execute function slow_write()`)
  const body = { scope: 'tenant', tenant_id: 'slow', period: 'day' }
  const bulk = await service.call('PUT', '/v1/quotas/bulk', { quotas: [{ ...body, limit_usd: 2 }] })
  t.match(bulk, { status: 200, json: { changed: 1 } })
  t.match(await put({ ...body, limit_usd: 3 }), { status: 200, json: { limit_usd: 3 } })
  const patched = await service.call('PATCH', `/v1/quotas/${quota.quota_id}`, { limit_usd: 4 })
  t.match(patched, { status: 200, json: { limit_usd: 4 } })
  await database.pool.query('drop function slow_write cascade')
})

t.test('the status names the largest holders of each quota', async (t) => {
  await put({ tenant_id: 'holders', limit_usd: 1_000 })
  for (const [user, usd] of [
    ['u-1', 1],
    ['u-2', 5],
    ['u-1', 7],
    ['u-3', 2],
    ['u-4', 0.5],
    ['u-5', 0.25],
    ['u-6', 0.125],
  ] as const)
    await hold('holders', usd, { user_id: user, conversation_id: 'c' })
  const { largest_holders: holders } = await statusOf('holders')
  t.same(holders, [
    { tenant_id: 'holders', user_id: 'u-1', conversation_id: 'c', reserved_usd: 8, reservations: 2 },
    { tenant_id: 'holders', user_id: 'u-2', conversation_id: 'c', reserved_usd: 5, reservations: 1 },
    { tenant_id: 'holders', user_id: 'u-3', conversation_id: 'c', reserved_usd: 2, reservations: 1 },
    { tenant_id: 'holders', user_id: 'u-4', conversation_id: 'c', reserved_usd: 0.5, reservations: 1 },
    { tenant_id: 'holders', user_id: 'u-5', conversation_id: 'c', reserved_usd: 0.25, reservations: 1 },
  ])
  await put({ scope: 'platform', period: 'month', limit_usd: 1_000_000 })
  const bound = await service.keyFor('viewer', 'holders')
  const seen = (await service.call('GET', '/v1/quotas/status', undefined, bound)).json.data
  t.match(
    seen.find((row: { scope: string }) => row.scope === 'platform'),
    { spent_usd: null, largest_holders: [] },
    'a bound key does not see other tenants',
  )
  const fresh = { 'cache-control': 'no-cache' }
  const platform = (await service.call('GET', '/v1/quotas/status', undefined, fresh)).json.data
  t.match(platform, [{ scope: 'platform', largest_holders: [{ tenant_id: 'holders', reserved_usd: 8 }] }])
})

t.test('quota changes of every kind during calls keep every invariant', async (t) => {
  await put({ tenant_id: 'storm', limit_usd: 40 })
  const id = (await service.call('GET', '/v1/quotas?tenant_id=storm&resource_type=llm')).json.data[0].quota_id
  const statuses = new Set<number>()
  const spend = async (n: number) => {
    for (let round = 0; round < 12; round += 1) {
      const held = await hold('storm', 1 + (n % 3), { user_id: `u-${n % 4}` })
      statuses.add(held.status)
      if (held.status !== 201) continue
      const settled = round % 3 === 0 ? await release(held) : await commit(held, 0.5 + round)
      statuses.add(settled.status)
    }
  }
  const administer = async () => {
    for (let round = 0; round < 4; round += 1) {
      for (const change of [
        { limit_usd: 5 },
        { time_zone: 'Asia/Kathmandu' },
        { limit_usd: 500 },
        { time_zone: 'UTC' },
      ]) {
        statuses.add((await service.call('PATCH', `/v1/quotas/${id}`, change)).status)
      }
      await service.call('DELETE', `/v1/quotas/${id}`)
      statuses.add((await put({ tenant_id: 'storm', limit_usd: 60 })).status)
    }
  }
  await Promise.all([...Array.from({ length: 8 }, (_, n) => spend(n)), administer()])
  t.same(
    [...statuses].filter((status) => ![200, 201, 429].includes(status)),
    [],
  )
  const { spent_usd: spent, reserved_usd: reserved } = await statusOf('storm')
  const { rows } = await database.pool.query<{ usd: string }>(
    `select trim_scale(sum(total_cost_usd))::text as usd from copilot_internal.llm_cost_records where tenant_id = 'storm'`,
  )
  t.equal(String(spent), rows[0]!.usd, 'every cost is in the revived balance')
  t.equal(reserved, 0)
  await assertHealthy(t, database.pool)
})
