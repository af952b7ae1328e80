import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startPgBouncer } from '../../helpers/servers/pgbouncer.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const pooler = await startPgBouncer(database.url, 3)
t.teardown(() => pooler.stop())
const url = pooler.through(database.url)
const [one, two] = await Promise.all([startService(t, url), startService(t, url)])
const services = [one, two]
const caller = await one.keyFor('service')

const CLIENTS = 64

/** Runs the requests with this many clients, each with one request in flight at a time. */
async function storm(requests: number, send: (n: number) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (next < requests) answers.push(await send(next++))
    }),
  )
  return answers
}

const reserve = (n: number) =>
  services[n % 2]!.call(
    'POST',
    '/v1/reservations',
    { resource_type: 'llm', tenant_id: 'pooled', estimated_cost_usd: 0.01 },
    { ...caller, 'idempotency-key': `pooled-${n}` },
  )

t.test('two instances share the three connections of a pooler in transaction mode', async (t) => {
  const { rows } = await database.pool.query<{ sessions: number }>(
    `select count(*)::integer as sessions from pg_stat_activity
     where datname = current_database() and application_name = 'purser' and pid <> pg_backend_pid()`,
  )
  t.ok(rows[0]!.sessions <= 3, `${rows[0]!.sessions} sessions`)
  for (const service of services) t.equal((await service.call('GET', '/readyz')).status, 200)
})

t.test('through PgBouncer 64 clients never exceed a limit of 1.00 USD, and each key has one answer', async (t) => {
  await one.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'pooled', period: 'day', limit_usd: 1 })
  const answers = await storm(400, reserve)
  const granted = answers.filter(({ status }) => status === 201)
  t.equal(granted.length, 100)
  t.equal(answers.filter(({ status }) => status === 429).length, 300)
  const again = await storm(400, (n) => reserve(n + 1))
  const ids = new Set(granted.map(({ json }) => json.reservation_id as string))
  t.equal(ids.size, 100)
  for (const { status, json } of again) t.ok(status === 429 || ids.has(json.reservation_id as string))
  const commits = await storm(100, (n) =>
    services[n % 2]!.call(
      'POST',
      `/v1/reservations/${granted[n]!.json.reservation_id}/commit`,
      { actual_cost_usd: 0.005 },
      caller,
    ),
  )
  t.equal(commits.filter(({ status }) => status === 200).length, 100)
  const status = await one.call('GET', '/v1/quotas/status?tenant_id=pooled')
  t.match(status.json.data, [{ limit_usd: 1, reserved_usd: 0, spent_usd: 0.5 }])
  await assertHealthy(t, database.pool)
})

t.test('bound reads, cost sums and the integrity check work through PgBouncer', async (t) => {
  const bound = await one.keyFor('viewer', 'pooled')
  const other = await one.keyFor('viewer', 'another')
  const seen = await Promise.all(
    Array.from({ length: 40 }, (_, n) =>
      services[n % 2]!.call('GET', '/v1/costs?group_by=tenant', undefined, n % 4 < 2 ? bound : other),
    ),
  )
  for (const [n, { status, json }] of seen.entries()) {
    t.equal(status, 200)
    t.same(json.total.records, n % 4 < 2 ? 100 : 0)
  }
  t.match(await two.call('GET', '/v1/integrity'), { status: 200, json: { healthy: true } })
})
