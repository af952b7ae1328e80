import { setTimeout as sleep } from 'node:timers/promises'
import { SignJWT } from 'jose'
import pg from 'pg'
import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'
import { startTcpProxy } from '../../helpers/servers/tcp-proxy.ts'

/** Every connection for changes. Each is taken by a change that waits until its lock_timeout of 1.5 s. */
const CONNECTIONS = 6
/** A change sent this long after those gets a connection when they time out, and is answered a second later. */
const LATER_MS = 500
/** This long after sending, callers have their answers (1.9 s) and the locks are not yet released (2.5 s). */
const HELD_MS = 2_200

const database = await createDatabase(t)
const { pool } = database
const { rows: ends } = await pool.query<{ port: number }>('select inet_server_port() as port')
const toPostgres = await startTcpProxy(t, Number(new URL(database.url).port || ends[0]!.port))
const SECRET = 'a-shared-secret-of-at-least-32-characters'
const service = await startService(t, toPostgres.through(database.url), { PURSER_JWT_SECRET: SECRET })
const call: typeof service.call = (...request) => service.call(...request)

const made = async (path: string, body: object, method = 'POST'): Promise<Answer['json']> => {
  const answer = await call(method, path, body)
  if (answer.status >= 300) throw new Error(answer.text)
  return answer.json
}
const keyOf = async () => (await made('/v1/api-keys', { name: 'k', role: 'viewer' })).key_id as string
const endpoint = async (n: number) =>
  (await made('/v1/webhook-endpoints', { kind: 'webhook', url: `https://hooks.example.com/${n}`, types: [] }))
    .endpoint_id as string
const quotaOf = (tenant_id: string, limit_usd: number) => ({ scope: 'tenant', tenant_id, period: 'month', limit_usd })
const quota = async (tenant: string) => (await made('/v1/quotas', quotaOf(tenant, 5), 'PUT')).quota_id as number
const defaultOf = (period: string) => ({ scope: 'user', resource_type: 'llm', period, limit_usd: 1 })

// Changes of these take the connections. They wait until their lock_timeout.
const blockers: string[] = []
for (let n = 0; n < CONNECTIONS; n += 1) blockers.push(await keyOf())
const tested = await endpoint(1)
const delivery = (await made(`/v1/webhook-endpoints/${tested}/test`, {})).delivery_id as string
await made('/v1/quota-defaults', defaultOf('week'), 'PUT')
const { data: recorded } = await made('/v1/cost-records', {
  records: [{ resource_type: 'llm', tenant_id: 'acme', cost_usd: 1 }],
})

/** A change, and the evidence that it was made: its entry in the audit log, or the rows that it leaves. */
type Change = { method: string; path: string; body?: object; action: string; rows?: string }
const CHANGES: Change[] = [
  { method: 'POST', path: '/v1/api-keys', body: { name: 'new', role: 'viewer' }, action: 'api_key.create' },
  {
    method: 'POST',
    path: `/v1/api-keys/${await keyOf()}/rotate`,
    body: { overlap_seconds: 0 },
    action: 'api_key.rotate',
  },
  { method: 'DELETE', path: `/v1/api-keys/${await keyOf()}`, action: 'api_key.revoke' },
  {
    ...{ method: 'POST', path: '/v1/webhook-endpoints', action: 'webhook_endpoint.create' },
    body: { kind: 'webhook', url: 'https://hooks.example.com/new', types: [] },
  },
  {
    ...{ method: 'PATCH', path: `/v1/webhook-endpoints/${await endpoint(2)}`, body: { enabled: false } },
    action: 'webhook_endpoint.update',
  },
  { method: 'DELETE', path: `/v1/webhook-endpoints/${await endpoint(3)}`, action: 'webhook_endpoint.delete' },
  {
    ...{ method: 'POST', path: `/v1/webhook-endpoints/${await endpoint(4)}/rotate-secret`, body: {} },
    action: 'webhook_endpoint.rotate_secret',
  },
  {
    ...{ method: 'POST', path: '/v1/pricing/models', action: 'price.create' },
    body: { provider: 'p', model: 'm', effective_date: '2026-01-01T00:00:00Z', usd_per_mtok: { input: 1, output: 1 } },
  },
  {
    ...{ method: 'POST', path: '/v1/pricing/e2b', action: 'price.create' },
    body: { tier: 'own', vcpu: 1, memory_mib: 512, usd_per_vcpu_second: 1, usd_per_gib_second: 1 },
  },
  { method: 'PUT', path: '/v1/quotas', body: quotaOf('put', 1), action: 'quota.create' },
  { method: 'PUT', path: '/v1/quotas/bulk', body: { quotas: [quotaOf('bulk', 1)] }, action: 'quota.create' },
  { method: 'PATCH', path: `/v1/quotas/${await quota('patched')}`, body: { limit_usd: 9 }, action: 'quota.update' },
  { method: 'DELETE', path: `/v1/quotas/${await quota('deleted')}`, action: 'quota.delete' },
  { method: 'PUT', path: '/v1/quota-defaults', body: defaultOf('month'), action: 'quota_default.create' },
  {
    ...{ method: 'DELETE', path: '/v1/quota-defaults?scope=user&resource_type=llm&period=week' },
    action: 'quota_default.delete',
  },
  {
    ...{ method: 'POST', path: `/v1/cost-records/${recorded[0].cost_record_id}/correct` },
    ...{ body: { cost_usd: 2, reason: 'test' }, action: 'cost_record.correct' },
  },
  {
    ...{ method: 'POST', path: `/v1/webhook-endpoints/${tested}/test`, action: '' },
    rows: `select from copilot_internal.webhook_deliveries where endpoint_id = '${tested}' and delivery_id <> '${delivery}'`,
  },
  {
    ...{ method: 'POST', path: `/v1/deliveries/${delivery}/redeliver`, action: '' },
    rows: `select from copilot_internal.webhook_deliveries where delivery_id = '${delivery}' and redeliveries > 0`,
  },
]

async function countOf({ action, rows }: Change): Promise<number> {
  if (rows !== undefined) return (await pool.query(rows)).rowCount!
  const others = blockers.map((id) => `api_key:${id}`)
  const entries = 'select from copilot_internal.audit_log where action = $1 and subject <> all ($2)'
  return (await pool.query(entries, [action, others])).rowCount!
}

/** Waits until no transaction of the service is open. */
async function untilQuiet(): Promise<void> {
  for (;;) {
    const { rowCount } = await pool.query(
      `select from pg_stat_activity where datname = current_database() and application_name = 'purser' and xact_start is not null`,
    )
    if (rowCount === 0) return
  }
}

// Each round sends as many changes as there are connections. Changes of one kind come in different rounds.
const ROUNDS = 3
for (let round = 0; round < ROUNDS; round += 1) {
  const changes = CHANGES.filter((_, n) => n % ROUNDS === round)
  t.test(`a change that was answered with 503 is not made afterwards: round ${round + 1}`, async (t) => {
    const before = await Promise.all(changes.map(countOf))
    const holder = await pool.connect()
    // Every administrator's change locks audit_head last; a delivery refers to its endpoint.
    await holder.query(`
      begin;
      select from copilot_internal.audit_head for update;
      select from copilot_internal.webhook_endpoints where endpoint_id = '${tested}' for update;
      select from copilot_internal.webhook_deliveries for update`)
    const blocking = blockers.map((id) => call('DELETE', `/v1/api-keys/${id}`))
    // The times decide how far a change gets before its answer. The assertions hold wherever that is.
    await sleep(LATER_MS)
    const answering = changes.map(({ method, path, body }) => call(method, path, body))
    await sleep(HELD_MS)
    await holder.query('rollback')
    holder.release()
    const answers = await Promise.all(answering)
    await Promise.all(blocking)
    await untilQuiet()
    for (const [n, change] of changes.entries()) {
      const { status, text, json } = answers[n]!
      const name = `${change.method} ${change.path.replace(/[0-9a-f-]{36}/g, '…')} ${status}`
      const happened = (await countOf(change)) - before[n]!
      t.equal(happened, status === 503 ? 0 : 1, name)
      if (status === 503) t.match(json, { code: 'unavailable', detail: /^Nothing was changed: / }, name)
      else t.ok(status < 300, text)
    }
  })
}

t.test('while Postgres is away, every change says that nothing was changed', async (t) => {
  // A token is verified without Postgres, so that the change itself begins.
  const token = await new SignJWT({
    sub: 'u-1',
    exp: Math.floor(Date.now() / 1000) + 600,
    app_metadata: { role: 'admin' },
  })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET))
  const asAdmin = { authorization: `Bearer ${token}` }
  toPostgres.cut()
  // A change on a connection that was just lost may have been made, so reads remove lost connections from the pools first.
  for (let lost = 0; lost < 3;) if ((await call('GET', '/v1/quotas', undefined, asAdmin)).status === 503) lost += 1
  for (const { method, path, body } of CHANGES) {
    const { status, json } = await call(method, path, body, asAdmin)
    t.match({ status, json }, { status: 503, json: { detail: /^Nothing was changed: / } }, path)
  }
  const read = await call('GET', '/v1/quotas', undefined, asAdmin)
  t.match(read, { status: 503, json: { detail: /^Nothing was read: / } })
  const unknown = await call('PUT', '/v1/quotas', quotaOf('put', 1), { authorization: `Bearer psr_${'x'.repeat(43)}` })
  t.match(
    unknown,
    { status: 503, json: { detail: /^Nothing was decided: / } },
    'also if its API key cannot be looked up',
  )
  toPostgres.mend()
})

t.test(
  'a connection lost at the commit is reported as such, and the answer does not ask for a blind retry',
  async (t) => {
    // Once the commit waits for a lock, the service has sent it.
    await pool.query(`
    create function wait_at_commit() returns trigger language plpgsql as $$
    begin
      perform pg_advisory_xact_lock(4711);
      return null;
    end $$;
    create constraint trigger wait_at_commit after update on copilot_internal.api_keys deferrable initially deferred
      for each row execute function wait_at_commit()`)
    const id = await keyOf()
    const holder = new pg.Client({ connectionString: database.url })
    await holder.connect()
    await holder.query('select pg_advisory_lock(4711)')
    const answering = call('POST', `/v1/api-keys/${id}/rotate`, { overlap_seconds: 0 })
    for (;;) {
      const { rowCount } = await pool.query(
        `select from pg_locks where locktype = 'advisory' and objid = 4711 and not granted`,
      )
      if (rowCount !== 0) break
    }
    toPostgres.cut()
    const { status, json, headers } = await answering
    toPostgres.mend()
    t.equal(status, 503)
    t.match(json, { code: 'unavailable', detail: /may have been made or not: .* Look before you repeat it/ })
    t.equal(headers.get('retry-after'), null)
    await holder.end()
    await pool.query('drop trigger wait_at_commit on copilot_internal.api_keys')
    await untilQuiet()
    await assertHealthy(t, pool)
  },
)
