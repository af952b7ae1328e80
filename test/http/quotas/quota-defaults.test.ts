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
const putDefault = (body: object) =>
  service.call('PUT', '/v1/quota-defaults', { scope: 'tenant', resource_type: 'llm', period: 'day', ...body })
const quotasOf = async (query: string) => (await service.call('GET', `/v1/quotas?resource_type=llm&${query}`)).json.data

t.test('the environment’s defaults are listed', async (t) => {
  const list = await service.call('GET', '/v1/quota-defaults')
  t.match(list, {
    status: 200,
    json: {
      data: [
        {
          scope: 'tenant',
          resource_type: 'e2b',
          period: 'day',
          limit_usd: 10,
          enforcement: 'enforce',
          from_environment: true,
        },
        {
          scope: 'tenant',
          resource_type: 'llm',
          period: 'day',
          limit_usd: 50,
          enforcement: 'enforce',
          from_environment: true,
        },
      ],
      next_cursor: null,
    },
  })
  const first = await service.call('GET', '/v1/quota-defaults?limit=1')
  const second = await service.call('GET', `/v1/quota-defaults?limit=1&cursor=${first.json.next_cursor}`)
  t.match([first.json.data, second.json.data], [[{ resource_type: 'e2b' }], [{ resource_type: 'llm' }]])
  t.equal(second.json.next_cursor, null)
})

t.test('a changed default changes exactly the quotas that came from it, also during open holds', async (t) => {
  const known = await hold('known', 10)
  await hold('spent', 30).then((held) => commit(held, 30))
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'set', period: 'day', limit_usd: 7 })
  await hold('gone', 1)
  const [gone] = await quotasOf('tenant_id=gone')
  await service.call('DELETE', `/v1/quotas/${gone.quota_id}`)

  const changed = await putDefault({ limit_usd: 25 })
  t.match(changed, { status: 200, json: { limit_usd: 25, enforcement: 'enforce', from_environment: false } })
  t.match(await quotasOf('tenant_id=known'), [{ limit_usd: 25 }])
  t.match(await quotasOf('tenant_id=set'), [{ limit_usd: 7 }], 'a quota that an administrator set stays unchanged')
  t.same(await quotasOf('tenant_id=gone'), [], 'a deleted one does not come back')
  t.equal((await hold('known', 15.01)).status, 429)
  t.equal((await hold('known', 15)).status, 201)
  t.equal((await hold('spent', 0.01)).status, 429, 'the spent amount is above the new limit')
  t.match(await hold('unseen', 1), { json: { quotas: [{ limit_usd: 25 }] } })
  t.equal((await commit(known, 9)).status, 200)
  await assertHealthy(t, database.pool)
})

t.test('a new default makes a quota for every known scope, with what that scope has spent', async (t) => {
  const held = await hold('crowd', 3, { user_id: 'u-1' })
  await commit(held, 2)
  const open = await hold('crowd', 4, { user_id: 'u-2' })
  await putDefault({ scope: 'user', period: 'hour', limit_usd: 5, enforcement: 'warn' })
  t.match(await quotasOf('scope=user&tenant_id=crowd'), [
    { user_id: 'u-1', period: 'hour', limit_usd: 5, enforcement: 'warn' },
    { user_id: 'u-2', period: 'hour', limit_usd: 5, enforcement: 'warn' },
  ])
  const statusOf = async (user: string) =>
    (await service.call('GET', `/v1/quotas/status?tenant_id=crowd&user_id=${user}&resource_type=llm`)).json.data.find(
      (row: { scope: string }) => row.scope === 'user',
    )
  t.match(await statusOf('u-1'), { spent_usd: 2, reserved_usd: 0 })
  t.match(await statusOf('u-2'), { spent_usd: 0, reserved_usd: 4 })
  t.match(await hold('crowd', 2, { user_id: 'u-2' }), { status: 201, json: { warnings: [{ code: 'quota_exceeded' }] } })
  await commit(open, 1)
  t.match(await hold('crowd', 1, { user_id: 'u-3' }), { json: { quotas: [{}, { scope: 'user', limit_usd: 5 }] } })
  await assertHealthy(t, database.pool)
})

t.test('a default that an administrator set or removed survives a restart', async (t) => {
  await putDefault({ resource_type: 'e2b', limit_usd: 10 })
  const gone = await service.call('DELETE', '/v1/quota-defaults?scope=tenant&resource_type=llm&period=day')
  t.same([gone.status, gone.text], [204, ''])
  t.match(await quotasOf('tenant_id=known'), [{ limit_usd: 25 }], 'the quotas that it made stay')
  t.match(await hold('free', 1_000), { status: 201, json: { quotas: [] } })
  const again = await startService(t, database.url, {
    PURSER_DEFAULT_LLM_USD_PER_DAY: '1',
    PURSER_DEFAULT_E2B_USD_PER_DAY: '2',
  })
  const { data } = (await again.call('GET', '/v1/quota-defaults')).json
  t.match(data, [{ resource_type: 'e2b', limit_usd: 10 }, { scope: 'user' }])
  t.equal(data.length, 2)
  t.match(
    await again.call('POST', '/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'still-free',
      estimated_cost_usd: 9,
    }),
    {
      status: 201,
      json: { quotas: [] },
    },
  )
  t.equal((await service.call('DELETE', '/v1/quota-defaults?scope=tenant&period=day')).status, 404)
  t.match(await putDefault({ limit_usd: 3 }), { status: 200, json: { limit_usd: 3 } })
  t.match(await quotasOf('tenant_id=free'), [{ limit_usd: 3 }])
  t.equal((await hold('free', 0.01)).status, 429, 'the new quota includes its open hold')
  await assertHealthy(t, database.pool)
})

t.test('bad defaults are refused with their pointer, and only an administrator changes defaults', async (t) => {
  for (const [body, pointer] of [
    [{ scope: 'platform', limit_usd: 1 }, '/scope'],
    [{}, '/limit_usd'],
    [{ limit_usd: -1 }, '/limit_usd'],
    [{ limit_usd: 1, period: 'year' }, '/period'],
    [{ limit_usd: 1, enforcement: 'maybe' }, '/enforcement'],
    [{ limit_usd: 1, tenant_id: 'x' }, '/tenant_id'],
  ] as const)
    t.match(await putDefault(body), { status: 400, json: { errors: [{ pointer }] } }, pointer)
  t.match(await service.call('DELETE', '/v1/quota-defaults?scope=tenant'), {
    status: 400,
    json: { errors: [{ pointer: 'period' }] },
  })
  const caller = await service.keyFor('service')
  t.equal((await service.call('PUT', '/v1/quota-defaults', { limit_usd: 1 }, caller)).status, 403)
  t.equal((await service.call('DELETE', '/v1/quota-defaults?scope=tenant&period=day', undefined, caller)).status, 403)
})

t.test('a job finishes a default change that was interrupted', async (t) => {
  await hold('left', 1)
  await database.pool.query(`select copilot_internal.set_quota_defaults($1)`, [
    JSON.stringify([{ scope: 'tenant', resource_type: 'llm', period: 'month', limit_usd: 33 }]),
  ])
  t.same(await quotasOf('tenant_id=left&period=month'), [])
  // Queues the job for now instead of waiting for its schedule.
  await database.pool.query(`select copilot_jobs.add_job('give-defaults')`)
  let quotas: { limit_usd: number }[] = []
  while (quotas.length === 0) quotas = await quotasOf('tenant_id=left&period=month')
  t.match(quotas, [{ limit_usd: 33 }])
  await assertHealthy(t, database.pool)
})
