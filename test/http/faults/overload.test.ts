import type { PoolClient } from 'pg'
import t, { type Test } from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url, { LOG_LEVEL: 'silent' })
const caller = await service.keyFor('service')

const reserve = (tenantId: string, usd: number | string = '0.01', headers = caller) =>
  service.call(
    'POST',
    '/v1/reservations',
    { resource_type: 'llm', tenant_id: tenantId, estimated_cost_usd: usd },
    headers,
  )

const record = (tenantId: string, n: number) =>
  service.call(
    'POST',
    '/v1/cost-records',
    {
      records: [{ resource_type: 'llm', tenant_id: tenantId, cost_usd: '0.01', idempotency_key: `${tenantId}-${n}` }],
    },
    caller,
  )

const settle = ({ json }: Answer, verb: 'commit' | 'release') =>
  service.call(
    'POST',
    `/v1/reservations/${json.reservation_id}/${verb}`,
    verb === 'commit' ? { actual_cost_usd: '0.01' } : {},
    caller,
  )

const OVERLOADED = { status: 503, json: { code: 'overloaded' } }

/** Locks a tenant's balances until the client's transaction ends. */
async function lockBalances(
  t: Test,
  tenantId: string,
): Promise<{ client: PoolClient; blocked: () => Promise<number> }> {
  await settle(await reserve(tenantId), 'release')
  const client = await database.pool.connect()
  t.teardown(() => client.release())
  await client.query('begin')
  await client.query('select from copilot_internal.quota_periods where tenant_id = $1 for update', [tenantId])
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return {
    client,
    /** How many sessions wait for the lock, directly or behind each other. */
    blocked: async () => {
      const { rows: waiting } = await database.pool.query<{ sessions: number }>(
        `with recursive behind as (
           select a.pid from pg_stat_activity a where $1 = any (pg_blocking_pids(a.pid))
           union select a.pid from pg_stat_activity a join behind b on b.pid = any (pg_blocking_pids(a.pid)))
         select count(*)::integer as sessions from behind`,
        [rows[0]!.pid],
      )
      return waiting[0]!.sessions
    },
  }
}

async function countHolds(tenantId: string): Promise<number> {
  const { rows } = await database.pool.query<{ holds: number }>(
    `select count(*)::integer as holds from copilot_internal.reservations where tenant_id = $1 and status = 'reserved'`,
    [tenantId],
  )
  return rows[0]!.holds
}

/** Asserts what must work while reservations wait: a new key, both probes, a commit and a release. */
async function assertServing(t: Test, held: Answer[]): Promise<void> {
  t.equal((await service.call('GET', '/healthz')).status, 200)
  t.match(await service.call('GET', '/readyz'), { status: 200, json: { status: 'ready' } })
  t.match(await settle(held.pop()!, 'commit'), { status: 200, json: { cost_usd: 0.01 } })
  t.match(await settle(held.pop()!, 'release'), { status: 200, json: { status: 'released' } })
  const answer = await service.call('GET', '/v1/quotas', undefined, { authorization: `Bearer ${'x'.repeat(40)}` })
  t.equal(answer.status, 401, 'a key is looked up')
}

t.test('while a batch is stuck, new reservations get a 503 at once and everything else is served', async (t) => {
  const held = await Promise.all(Array.from({ length: 2 }, () => reserve('settling')))
  const { client, blocked } = await lockBalances(t, 'stuck')
  let stuck = reserve('stuck')
  while ((await blocked()) === 0);
  const answers: Answer[] = []
  const sent: Promise<unknown>[] = []
  while (!answers.some(({ json }) => json.code === 'overloaded')) {
    sent.push(reserve('crowd').then((answer) => answers.push(answer)))
    // Once a stuck reservation gets its 503 at the deadline, another takes its place.
    await Promise.race([stuck.then(() => (stuck = reserve('stuck'))), service.call('GET', '/healthz')])
  }
  await assertServing(t, held)
  await client.query('rollback')
  await Promise.all([...sent, stuck])
  for (const { status, headers } of answers.filter((one) => one.status !== 201))
    t.same({ status, retryAfter: headers.get('retry-after') }, { status: 503, retryAfter: '1' })
  t.equal((await reserve('crowd')).status, 201, 'the next reservation is accepted')
  await assertHealthy(t, database.pool)
})

t.test('work that waits for a lock leaves connections for keys, commits, releases and readiness', async (t) => {
  const held = await Promise.all(Array.from({ length: 2 }, () => reserve('settling')))
  const { client, blocked } = await lockBalances(t, 'full')
  const records = Array.from({ length: 24 }, (_, n) => record('full', n))
  const stuck = reserve('full')
  // An instance has this many connections for records.
  while ((await blocked()) < 6);
  await assertServing(t, held)
  await client.query('rollback')
  for (const { status } of await Promise.all(records)) t.ok(status === 201 || status === 503)
  await stuck
  await assertHealthy(t, database.pool)
})

t.test('a slow Postgres makes the service refuse excess reservations, and accepted ones are held', async (t) => {
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'many', period: 'day', limit_usd: 1_000_000 })
  const held = await Promise.all(Array.from({ length: 2 }, () => reserve('settling')))
  await database.pool.query(`
    create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.5); return null; end $$;
    create trigger slow after insert on copilot_internal.reservations for each statement execute function public.slow()`)
  const answers: Answer[] = []
  let shed: Answer | undefined
  const client = async () => {
    do {
      const answer = await reserve('many')
      answers.push(answer)
      if (answer.status === 503) shed ??= answer
    } while (shed === undefined)
  }
  // Three full batches wait behind the one that runs, half a second each. One more would wait over a second.
  const storm = Promise.all(Array.from({ length: 1_000 }, client))
  await assertServing(t, held)
  await storm
  t.match(shed, OVERLOADED)
  const granted = answers.filter(({ status }) => status === 201)
  t.ok(granted.length > 0)
  await database.pool.query('drop trigger slow on copilot_internal.reservations')
  t.equal((await reserve('many')).status, 201, 'the next reservation is accepted as soon as Postgres recovers')
  const unknown = answers.filter(({ json }) => json.code === 'unavailable').length
  const holds = await countHolds('many')
  t.ok(holds >= granted.length + 1 && holds <= granted.length + 1 + unknown, `${holds} holds`)
  await assertHealthy(t, database.pool)
})
