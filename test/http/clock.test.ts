import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { assertHealthy } from '../helpers/integrity.ts'
import { startService, type Service } from '../helpers/service.ts'

const HOUR_MS = 3_600_000
const MODULE = pathToFileURL(join(import.meta.dirname, '..', 'helpers', 'shifted-clock.ts')).href

const database = await createDatabase(t)
// A model whose price changes within the hour before and the hour after the time of the tests.
const version = (effective_date: string, usd: number) => ({
  ...{ provider: 'p', model: 'm', source: 'test', effective_date },
  usd_per_mtok: { input: usd, output: usd },
})
await database.pool.query('select copilot_internal.publish_model_prices($1)', [
  JSON.stringify([version('2027-01-01Z', 1), version('2027-05-05T23:20:00Z', 2), version('2027-05-06T00:15:00Z', 4)]),
])

/** Moves the time, and waits until the sweeper has settled what lapsed: how soon it comes is not decided by any clock. */
async function moveTo(at: string): Promise<void> {
  await setNow(database, at)
  for (;;) {
    const { rowCount } = await database.pool.query(
      `select from copilot_internal.reservations where status = 'reserved' and expires_at <= copilot_internal.clock_now()`,
    )
    if (rowCount === 0) return
  }
}

/** What everything that is decided by time answers around midnight, without the ids that differ by chance. */
async function play(t: Test, shiftMs: number): Promise<unknown[]> {
  await setNow(database, '2027-05-05T23:50:00Z')
  const service = await startService(t, database.url, {
    NODE_OPTIONS: `--import ${MODULE}`,
    TEST_CLOCK_SHIFT_MS: String(shiftMs),
    LOG_LEVEL: 'info',
  })
  t.ok(Math.abs(loggedMs(service) - Date.now() - shiftMs) < HOUR_MS / 2, 'its own clock is off')
  const tenant = `off-by-${shiftMs}`
  const answers: unknown[] = []
  const note = (text: string) => {
    const known = text.replaceAll(tenant, 'the tenant').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'an id')
    answers.push(JSON.parse(known.replace(/"(quota_id|key|prefix|instance|retry)":("[^"]*"|\d+)/g, '"$1":0')))
  }
  const call = async (...[method, path, body, headers]: Parameters<Service['call']>) => {
    const answer = await service.call(method, path, body, headers)
    note(answer.text === '' ? '{}' : answer.text)
    answers.push(answer.status, answer.headers.get('retry-after'))
    return answer
  }
  const llm = { provider: 'p', model: 'm', input_tokens: 1_000_000, max_output_tokens: 0 }
  const reserve = (more: object = {}) =>
    call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: tenant, llm, ...more })

  // The first answer of the process is worked out before it has asked for any decision.
  await call('POST', '/v1/estimates', {
    resource_type: 'llm',
    llm: { provider: 'p', model: 'm', usage: { input_tokens: 1_000_000 } },
  })
  const raised = {
    scope: 'tenant',
    tenant_id: tenant,
    period: 'hour',
    limit_usd: 5,
    raise: { limit_usd: 9, until: '2027-05-06T00:10:00Z' },
  }
  await call('PUT', '/v1/quotas', raised)
  const made = await service.call('POST', '/v1/api-keys', {
    name: 'short',
    role: 'service',
    expires_at: '2027-05-06T00:20:00Z',
  })
  const short = { authorization: `Bearer ${made.json.key}` }
  const held = await reserve()
  const lapsing = await reserve({ ttl_seconds: 1_200 })
  await reserve({ estimated_cost_usd: 4.5, llm: undefined })
  await reserve({ estimated_cost_usd: 1, llm: undefined })
  await call('GET', `/v1/quotas/status?tenant_id=${tenant}`)

  await moveTo('2027-05-06T00:05:00Z')
  await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, { usage: { input_tokens: 900_000 } })
  await reserve()
  await call('GET', `/v1/quotas/status?tenant_id=${tenant}`, undefined, { 'cache-control': 'no-cache', ...short })

  await moveTo('2027-05-06T00:16:00Z')
  await call('POST', `/v1/reservations/${lapsing.json.reservation_id}/commit`, { actual_cost_usd: 1 })
  await reserve()
  await reserve()
  await call('GET', `/v1/costs?group_by=day&tenant_id=${tenant}`)
  await call('GET', `/v1/cost-records?tenant_id=${tenant}`)

  await moveTo('2027-05-06T00:21:00Z')
  const late = await service.call('GET', `/v1/quotas/status?tenant_id=${tenant}`, undefined, short)
  // A key that was valid is trusted for a second.
  answers.push([200, 401].includes(late.status))
  await assertHealthy(t, database.pool)
  await service.stop()
  return answers
}

/** The time that the process gives to a line of its log. */
function loggedMs(service: Service): number {
  return Number(/"time":(\d+)/.exec(service.output())?.[1])
}

t.test('a clock of the process that is an hour off changes nothing that is decided', async (t) => {
  const right = await play(t, 0)
  t.ok(right.length > 30)
  t.match(right[0], { cost_usd: 2 }, 'the price that runs by the clock of Postgres')
  for (const shiftMs of [HOUR_MS, -HOUR_MS]) t.same(await play(t, shiftMs), right, `${shiftMs} ms off`)
})
