import t from 'tap'
import { runCli } from '../../helpers/servers/cli.ts'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url, { PURSER_ENFORCEMENT: 'warn' })

const quotas = (args: string[], input = '') => runCli('quotas', database.url, args, input)
const hold = (tenantId: string, usd: number) =>
  service.call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: tenantId, estimated_cost_usd: usd })
const commit = ({ json }: Answer, usd: number) =>
  service.call('POST', `/v1/reservations/${json.reservation_id}/commit`, { actual_cost_usd: usd })

t.test('an exported quota file can be imported again, exact to the last decimal', async (t) => {
  await service.call('PUT', '/v1/quotas/bulk', {
    quotas: [
      {
        scope: 'platform',
        period: 'month',
        limit_usd: '123456.000000000001',
        billing_day: 31,
        time_zone: 'Asia/Kathmandu',
      },
      {
        scope: 'user',
        tenant_id: 'acme',
        user_id: 'u-1',
        resource_type: 'e2b',
        period: 'week',
        limit_usd: 5,
        week_starts_on: 7,
        enforcement: 'warn',
        thresholds: [0.5],
        raise: { limit_usd: 9, until: '2030-01-01T00:00:00Z' },
      },
    ],
  })
  const exported = await quotas(['export'])
  t.equal(exported.code, 0)
  t.match(exported.stdout, '123456.000000000001')
  const other = await createDatabase(t)
  const imported = await runCli('quotas', other.url, ['import', '--json', '--reason', 'moved'], exported.stdout)
  t.match(imported, { code: 0, stderr: '', stdout: '{"made":2,"changed":0}\n' })
  t.equal((await runCli('quotas', other.url, ['export'])).stdout, exported.stdout)
  t.match(await runCli('quotas', other.url, ['import'], exported.stdout), { code: 0, stdout: '0 made, 2 changed\n' })
  const { rows } = await other.pool.query(
    'select action, principal, reason from copilot_internal.audit_log order by 1, audit_id',
  )
  t.match(rows[0], { action: 'quota.create', principal: /^cli:/, reason: 'moved' })
  t.equal(rows.length, 4)
  await assertHealthy(t, other.pool)
})

t.test('a bad file changes nothing, and each of its errors is named', async (t) => {
  const good = { scope: 'tenant', tenant_id: 'x', period: 'day', limit_usd: 1 }
  const file = JSON.stringify({
    quotas: [good, { ...good, period: 'year' }, { ...good, tenant_id: 'jane@example.com' }, { ...good, colour: 1 }],
  })
  const before = (await quotas(['export'])).stdout
  const refused = await quotas(['import'], file)
  t.equal(refused.code, 1)
  for (const place of ['/quotas/1/period', '/quotas/2/tenant_id']) t.match(refused.stderr, place)
  t.match(await quotas(['import'], JSON.stringify({ quotas: [good, good] })), {
    code: 1,
    stderr: /\/quotas\/1 is the same quota/,
  })
  t.match(await quotas(['import'], '{'), { code: 1, stderr: /is not JSON/ })
  t.match(await quotas(['import', '/nowhere.json']), { code: 1, stderr: /ENOENT/ })
  t.equal((await quotas(['export'])).stdout, before)
  t.match(await quotas(['explode']), { code: 2, stderr: /Unknown command: explode/ })
  t.match(await quotas(['export', '--days', '3']), { code: 2, stderr: /--days goes with report/ })
  t.match(await quotas(['report', '--days', '0']), { code: 2, stderr: /--days must be 1 to 366/ })
  t.match(await quotas(['--help']), { code: 0, stdout: /Usage: npm run quotas/ })
})

t.test('the report lists exactly what would have been refused', async (t) => {
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'fits', period: 'day', limit_usd: 10 })
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'over', period: 'day', limit_usd: 10 })
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'over', period: 'month', limit_usd: 1_000 })
  t.match(await quotas(['report']), { code: 0, stdout: 'Nothing would have been refused in the last 14 days.\n' })
  for (const usd of [4, 6]) await hold('fits', usd).then((held) => commit(held, usd))
  // 6 fits, 5 does not, 3 fits beside the 6, 2 does not.
  for (const usd of [6, 5, 3, 2]) await hold('over', usd).then((held) => commit(held, usd))
  const report = await quotas(['report', '--json'])
  t.match(JSON.parse(report.stdout), [
    {
      scope: 'tenant',
      tenant_id: 'over',
      period: 'day',
      limit_usd: 10,
      spent_usd: 16,
      calls: 4,
      refused_calls: 2,
      refused_usd: 7,
    },
  ])
  t.equal(JSON.parse(report.stdout).length, 1)
  t.match(await quotas(['report', '--days', '1']), { code: 0, stdout: /over.*day/ })
  await assertHealthy(t, database.pool)
})

t.test('a reservation’s RateLimit fields show what the tightest enforced quota has left', async (t) => {
  const enforcing = await startService(t, database.url)
  const reserve = (usd: number, headers: Record<string, string> = {}) =>
    enforcing.call(
      'POST',
      '/v1/reservations',
      { resource_type: 'llm', tenant_id: 'fields', estimated_cost_usd: usd },
      headers,
    )
  const quota = { scope: 'tenant', tenant_id: 'fields' }
  await service.call('PUT', '/v1/quotas', { ...quota, period: 'day', limit_usd: 50 })
  await service.call('PUT', '/v1/quotas', { ...quota, period: 'month', limit_usd: 40 })
  await service.call('PUT', '/v1/quotas', { ...quota, period: 'hour', limit_usd: 1, enforcement: 'warn' })
  const held = await reserve(3.25, { 'idempotency-key': 'fields-1' })
  t.equal(held.status, 201)
  t.equal(held.headers.get('ratelimit-policy'), '"tenant-month";q=40000000;qu="usd-micros"')
  t.match(held.headers.get('ratelimit'), /^"tenant-month";r=36750000;t=\d+$/)
  t.equal(held.headers.get('x-purser-enforcement'), 'warn')
  const again = await reserve(3.25, { 'idempotency-key': 'fields-1' })
  t.match(again.headers.get('ratelimit'), /^"tenant-month";r=36750000;t=\d+$/)
  await service.call('PUT', '/v1/quotas', { ...quota, period: 'day', limit_usd: 20 })
  const daily = await reserve(1)
  t.equal(daily.headers.get('ratelimit-policy'), '"tenant-day";q=20000000;w=86400;qu="usd-micros"')
  const seconds = Number(/t=(\d+)$/.exec(daily.headers.get('ratelimit')!)![1])
  t.ok(seconds >= 1 && seconds <= 86_400)
  const refused = await reserve(16)
  t.equal(refused.status, 429)
  t.match(refused.headers.get('ratelimit'), /^"tenant-day";r=15750000;t=\d+$/)
  t.equal(refused.headers.get('retry-after'), refused.headers.get('ratelimit')!.split('t=')[1])
})
