import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { PoolClient } from 'pg'
import t, { type Test } from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url, { LOG_LEVEL: 'info' })
const caller = await service.keyFor('service')

/** The request id of a socket's request in the log. */
const requestIds = new Map<Socket, string>()

/** Sends a reservation over its own socket and does not read the answer. */
async function send(body: object, headers: Record<string, string>): Promise<Socket> {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const text = JSON.stringify({ resource_type: 'llm', ttl_seconds: 600, ...body })
  const id = `sent-${requestIds.size}`
  requestIds.set(socket, id)
  const lines = {
    host: 'purser',
    'x-request-id': id,
    'content-type': 'application/json',
    'content-length': String(text.length),
    ...headers,
  }
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`POST /v1/reservations HTTP/1.1\r\n${head.join('')}\r\n${text}`)
  return socket
}

/** Disconnects without waiting. Returns once the service has noticed, which is when its log has the request's line. */
async function leave(socket: Socket): Promise<void> {
  socket.destroy()
  await once(socket, 'close')
  while (!service.output().includes(`"reqId":"${requestIds.get(socket)}"`)) await service.call('GET', '/healthz')
}

/** Polls Postgres until the condition holds; the test's timeout bounds the wait. */
async function until(condition: string, values: unknown[]): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query<{ holds: boolean }>(`select (${condition}) as holds`, values)
    if (rows[0]!.holds) return
  }
}

async function listed(tenantId: string) {
  const { rows } = await database.pool.query<{ status: string; release_reason: string | null }>(
    'select status, release_reason from copilot_internal.reservations where tenant_id = $1 order by reservation_id',
    [tenantId],
  )
  return rows
}

const isReleased = (tenantId: string) =>
  until(
    `exists (select from copilot_internal.reservations where tenant_id = $1)
     and not exists (select from copilot_internal.reservations where tenant_id = $1 and status = 'reserved')`,
    [tenantId],
  )

/** Holds the tenant's balances locked, so that decisions about it wait. */
async function lockBalances(
  t: Test,
  tenantId: string,
): Promise<{ client: PoolClient; untilAwaited: () => Promise<void> }> {
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: tenantId, period: 'day', limit_usd: 50 })
  const client = await database.pool.connect()
  t.teardown(() => client.release())
  await client.query('begin')
  await client.query(`select from copilot_internal.quota_periods where tenant_id = $1 for update`, [tenantId])
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return {
    client,
    untilAwaited: () =>
      until('exists (select from pg_stat_activity a where $1 = any (pg_blocking_pids(a.pid)))', [rows[0]!.pid]),
  }
}

t.test('a hold without an idempotency key is released when its caller disconnects before the answer', async (t) => {
  const { client, untilAwaited } = await lockBalances(t, 'gone')
  const socket = await send({ tenant_id: 'gone', estimated_cost_usd: 5 }, caller)
  await untilAwaited()
  await leave(socket)
  await client.query('commit')
  await isReleased('gone')
  t.same(await listed('gone'), [{ status: 'released', release_reason: 'the caller has gone' }])
  await assertHealthy(t, database.pool)
})

t.test('a hold with an idempotency key stays open for its caller’s retry', async (t) => {
  const { client, untilAwaited } = await lockBalances(t, 'keyed')
  const keyed = { ...caller, 'idempotency-key': 'k-1' }
  const body = { tenant_id: 'keyed', estimated_cost_usd: 5 }
  const socket = await send(body, keyed)
  await untilAwaited()
  await leave(socket)
  await client.query('commit')
  await until(`exists (select from copilot_internal.reservations where tenant_id = 'keyed')`, [])
  // Once a later hold without a key is released, the service has finished with the first one.
  const later = await lockBalances(t, 'keyed-later')
  const second = await send({ tenant_id: 'keyed-later', estimated_cost_usd: 5 }, caller)
  await later.untilAwaited()
  await leave(second)
  await later.client.query('commit')
  await isReleased('keyed-later')
  t.same(await listed('keyed'), [{ status: 'reserved', release_reason: null }])
  const retried = await service.call(
    'POST',
    '/v1/reservations',
    { resource_type: 'llm', ttl_seconds: 600, ...body },
    keyed,
  )
  t.match(retried, { status: 201, json: { status: 'reserved', reserved_usd: 5 } })
  t.equal(retried.headers.get('idempotency-replayed'), 'true')
  await assertHealthy(t, database.pool)
})

t.test('a caller that disconnects after its answer keeps its hold', async (t) => {
  const socket = await send({ tenant_id: 'answered', estimated_cost_usd: 5 }, { ...caller, connection: 'close' })
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  t.match(answer, /^HTTP\/1.1 201 /)
  const { client, untilAwaited } = await lockBalances(t, 'answered-later')
  const later = await send({ tenant_id: 'answered-later', estimated_cost_usd: 5 }, caller)
  await untilAwaited()
  await leave(later)
  await client.query('commit')
  await isReleased('answered-later')
  t.same(await listed('answered'), [{ status: 'reserved', release_reason: null }])
})

t.test('a refusal whose caller disconnected leaves no rows, and the service goes on', async (t) => {
  const { client, untilAwaited } = await lockBalances(t, 'refused')
  const first = await send({ tenant_id: 'refused', estimated_cost_usd: 40 }, caller)
  await untilAwaited()
  // Waits for the first one's batch and does not fit beside it.
  const second = await send({ tenant_id: 'refused', estimated_cost_usd: 51 }, caller)
  await leave(first)
  await leave(second)
  await client.query('commit')
  await isReleased('refused')
  t.same(await listed('refused'), [{ status: 'released', release_reason: 'the caller has gone' }])
  t.match((await service.call('GET', '/healthz')).json, { status: 'ok' })
  await assertHealthy(t, database.pool)
})

t.test('a reservation whose caller disconnects while it is queued is never decided', async (t) => {
  const { client, untilAwaited } = await lockBalances(t, 'before')
  const first = await send({ tenant_id: 'before', estimated_cost_usd: 5 }, caller)
  await untilAwaited()
  const keyed = { ...caller, 'idempotency-key': 'k-never' }
  for (const headers of [caller, keyed]) await leave(await send({ tenant_id: 'never', estimated_cost_usd: 5 }, headers))
  const body = { resource_type: 'llm', tenant_id: 'after', estimated_cost_usd: 5 }
  const after = service.call('POST', '/v1/reservations', body, caller)
  await client.query('commit')
  t.equal((await after).status, 201)
  t.same(await listed('never'), [])
  const retried = await service.call('POST', '/v1/reservations', { ...body, tenant_id: 'never' }, keyed)
  t.match(retried, { status: 201, json: { status: 'reserved' } })
  t.equal(retried.headers.get('idempotency-replayed'), null, 'the retry is decided for the first time')
  await leave(first)
  await assertHealthy(t, database.pool)
})

/** How long a request waits for its key lookup. The time it has left is then shorter than the lock wait. */
const WAITED_MS = 1_200

t.test('a hold without an idempotency key that is made after its caller got a 503 is released', async (t) => {
  const fresh = await service.keyFor('service')
  const { client, untilAwaited } = await lockBalances(t, 'late')
  const keys = await database.pool.connect()
  t.teardown(() => keys.release())
  await keys.query('begin')
  await keys.query('lock table copilot_internal.api_keys')
  const sentAt = performance.now()
  const body = { resource_type: 'llm', ttl_seconds: 600, tenant_id: 'late', estimated_cost_usd: 5 }
  const answer = service.call('POST', '/v1/reservations', body, fresh)
  while (performance.now() - sentAt < WAITED_MS) await until('true', [])
  await keys.query('commit')
  await untilAwaited()
  t.equal((await answer).status, 503)
  await client.query('commit')
  await isReleased('late')
  t.same(await listed('late'), [{ status: 'released', release_reason: 'the caller has gone' }])
  await assertHealthy(t, database.pool)
})

t.test('a shutdown releases the holds of disconnected callers and exits cleanly', async (t) => {
  const { client, untilAwaited } = await lockBalances(t, 'stopped')
  const socket = await send({ tenant_id: 'stopped', estimated_cost_usd: 5 }, caller)
  await untilAwaited()
  await leave(socket)
  const ended = service.stop()
  await client.query('commit')
  t.equal(await ended, 0, 'the shutdown does not wait for an answer that nobody reads')
  t.same(await listed('stopped'), [{ status: 'released', release_reason: 'the caller has gone' }])
  await assertHealthy(t, database.pool)
})
