import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const bound = await service.keyFor('service', 'acme')
const unbound = await service.keyFor('service')

const amount = (usd: number) => ({ resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: usd })
const reserve = (usd: number, by: Record<string, string>) => service.call('POST', '/v1/reservations', amount(usd), by)
const check = (usd: number, by: Record<string, string>) =>
  service.call('POST', '/v1/reservations/check', amount(usd), by)
const extend = ({ json }: Answer, usd: number, by: Record<string, string>) =>
  service.call('POST', `/v1/reservations/${json.reservation_id}/extend`, { estimate: { estimated_cost_usd: usd } }, by)
const setQuota = (scope: string, limitUsd: number) =>
  service.call('PUT', '/v1/quotas', {
    ...{ scope, period: 'total', limit_usd: limitUsd },
    ...(scope === 'platform' ? {} : { tenant_id: 'acme' }),
  })

/** The status and largest allowed amount of each answer. */
async function roomTold(by: Record<string, string>): Promise<unknown[]> {
  const held = await reserve(1, by)
  const answers = [await reserve(60, by), await check(60, by), await check(1, by), await extend(held, 60, by)]
  await service.call('POST', `/v1/reservations/${held.json.reservation_id}/release`, {})
  return answers.map(({ status, json }) => `${status} ${json.largest_allowed_usd}`)
}

t.test('a bound key never sees what the platform’s quota has left', async (t) => {
  await setQuota('platform', 40.123456)
  t.same(await roomTold(unbound), ['429 39.123456', '200 39.123456', '200 39.123456', '429 40.123456'])
  t.same(
    await roomTold(bound),
    ['429 null', '200 null', '200 null', '429 null'],
    'the platform’s quota has less left than acme’s',
  )

  const refused = await reserve(60, bound)
  t.notMatch(
    refused.text + JSON.stringify([...refused.headers]),
    /40\.1|39\.1|19\.8|401234|391234/,
    'no other part of the answer reveals it either',
  )

  await setQuota('tenant', 20)
  for (const by of [unbound, bound]) {
    t.same(await roomTold(by), ['429 19', '200 19', '200 19', '429 20'], 'acme’s own tightest amount is shown')
  }
  await setQuota('platform', 20)
  t.same(await roomTold(bound), ['429 19', '200 19', '200 19', '429 20'], 'an equal amount is acme’s own and is shown')
})

t.test('above its own limit a bound key sees 0 as the largest allowed amount, above the platform’s null', async (t) => {
  await reserve(15, unbound)
  await setQuota('platform', 5)
  await setQuota('tenant', 10)
  t.match((await reserve(1, bound)).json, { largest_allowed_usd: 0 })
  await setQuota('tenant', 100)
  t.match((await reserve(1, bound)).json, { largest_allowed_usd: null })
})

t.test('Retry-After does not reveal a hidden limit', async (t) => {
  await service.call('PUT', '/v1/quotas', { scope: 'platform', period: 'total', limit_usd: 1_000_000 })
  await service.call('PUT', '/v1/quotas', { scope: 'platform', period: 'hour', limit_usd: 2 })
  t.match(await reserve(3, unbound), { status: 429, json: { period: 'hour' } })
  t.equal((await reserve(3, unbound)).headers.get('retry-after'), null, 'waiting does not help')
  t.ok(Number((await reserve(3, bound)).headers.get('retry-after')) > 0)
})
