import { randomUUID } from 'node:crypto'
// Which caller may use which route for which tenant: every route, each role, and the own, another or no tenant.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
// The clock is stopped, so no hold lapses and only requests change anything.
await setNow(database, '2026-11-25T12:00:00Z')
const service = await startService(t, database.url, {
  PURSER_PRICE_FEED: 'none',
  PURSER_DEFAULT_LLM_USD_PER_DAY: '1000000',
  PURSER_RATE_LIMIT_ADMIN: '100000',
  // Each wrong key comes from another address.
  PURSER_TRUSTED_PROXIES: '127.0.0.1',
})

const MINE = 'tenant-mine'
const THEIRS = 'tenant-theirs'
/** Part of every text of the other tenant. A key bound to this tenant never reads it. */
const MARK = /theirs/
const RETRIES_MAX = 20
const UNKNOWN = '01980000-0000-7000-8000-000000000000'

const CALLERS = ['admin', 'service']
const READERS = ['admin', 'viewer']
const ALL = ['admin', 'service', 'viewer']
const ADMINS = ['admin']
/** Also allowed without a key. */
const OPEN = ['open']

type Case = 'own' | 'other' | 'none'
/** The target of a request: the tenant's name, where it is given, and its things, made for this request. */
type Subject = {
  tenant: string | undefined
  reservationId: string
  recordId: string
  quotaId: number
  keyId: string
  endpointId: string
  deliveryId: string
  n: number
}
type Row = {
  roles: string[]
  /** Where the request names the tenant or a thing of it. nowhere: the route has no tenant. */
  tenant: 'body' | 'query' | 'path' | 'nowhere'
  status: number
  /** The status, if it differs, for a key without a tenant that names no tenant. */
  unnamed?: number
  /** Set if the route refuses bound keys. */
  bound?: 403
  request?: (subject: Subject) => { path?: string; query?: string; body?: object }
}

const hold = ({ tenant }: Subject) => ({
  body: { resource_type: 'llm', tenant_id: tenant, user_id: 'u', estimated_cost_usd: 0.01 },
})
const listOf = ({ tenant }: Subject) => ({ query: tenant === undefined ? '' : `?tenant_id=${tenant}` })
const quota = ({ tenant }: Subject) =>
  tenant === undefined
    ? { scope: 'platform', period: 'hour', limit_usd: 1_000 }
    : { scope: 'tenant', tenant_id: tenant, period: 'hour', limit_usd: 1_000 }
const ofReservation =
  (body?: object) =>
  ({ reservationId: id }: Subject) => ({ path: `/${id}`, ...(body && { body }) })

const ofEndpoint =
  (body?: object) =>
  ({ endpointId: id }: Subject) => ({ path: `/${id}`, ...(body && { body }) })
/** Disabled, so nothing is sent and only requests of this test change anything. */
const hookOf = (tenant: string | undefined) => ({
  ...{ kind: 'webhook', url: 'https://hooks.example.com/', types: [], enabled: false },
  ...(tenant !== undefined && { tenant_id: tenant }),
})

/** Every route. Add new routes here: without a row the first test fails. */
const ROUTES: Record<string, Row> = {
  'POST /v1/reservations': { roles: CALLERS, tenant: 'body', status: 201, unnamed: 400, request: hold },
  'GET /v1/reservations': { roles: ALL, tenant: 'query', status: 200, request: listOf },
  'POST /v1/reservations/check': { roles: CALLERS, tenant: 'body', status: 200, unnamed: 400, request: hold },
  'GET /v1/reservations/{id}': { roles: ALL, tenant: 'path', status: 200, request: ofReservation() },
  'POST /v1/reservations/{id}/commit': {
    ...{ roles: CALLERS, tenant: 'path', status: 200, request: ofReservation({ actual_cost_usd: 0.01 }) },
  },
  'POST /v1/reservations/{id}/extend': {
    ...{ roles: CALLERS, tenant: 'path', status: 200, request: ofReservation({ ttl_seconds: 600 }) },
  },
  'POST /v1/reservations/{id}/release': { roles: CALLERS, tenant: 'path', status: 200, request: ofReservation({}) },
  'POST /v1/estimates': {
    ...{ roles: CALLERS, tenant: 'nowhere', status: 200 },
    request: () => ({ body: { resource_type: 'e2b', e2b: { tier: 'standard', seconds: 1 } } }),
  },
  'POST /v1/cost-records': {
    ...{ roles: CALLERS, tenant: 'body', status: 201, unnamed: 400 },
    request: ({ tenant }) => ({
      body: { records: [{ resource_type: 'llm', tenant_id: tenant, cost_usd: 0.01 }] },
    }),
  },
  'GET /v1/cost-records': { roles: READERS, tenant: 'query', status: 200, request: listOf },
  'POST /v1/cost-records/{cost_record_id}/correct': {
    ...{ roles: ADMINS, tenant: 'path', status: 201 },
    request: ({ recordId }) => ({ path: `/${recordId}`, body: { cost_usd: 0.02, reason: 'test' } }),
  },
  'GET /v1/costs': {
    ...{ roles: READERS, tenant: 'query', status: 200 },
    request: ({ tenant }) => ({
      query: `?group_by=tenant,user,conversation${tenant === undefined ? '' : `&tenant_id=${tenant}`}`,
    }),
  },
  'GET /v1/costs/export': {
    ...{ roles: READERS, tenant: 'query', status: 200 },
    request: ({ tenant }) => ({ query: `?format=jsonl${tenant === undefined ? '' : `&tenant_id=${tenant}`}` }),
  },
  'GET /v1/events': { roles: ALL, tenant: 'query', status: 200, request: listOf },
  'GET /v1/quotas': { roles: READERS, tenant: 'query', status: 200, request: listOf },
  'PUT /v1/quotas': { roles: ADMINS, tenant: 'body', status: 200, request: (subject) => ({ body: quota(subject) }) },
  'GET /v1/quotas/status': { roles: ALL, tenant: 'query', status: 200, request: listOf },
  'PUT /v1/quotas/bulk': {
    ...{ roles: ADMINS, tenant: 'body', status: 200, request: (subject) => ({ body: { quotas: [quota(subject)] } }) },
  },
  'GET /v1/quotas/{quota_id}': {
    ...{ roles: READERS, tenant: 'path', status: 200, request: ({ quotaId }) => ({ path: `/${quotaId}` }) },
  },
  'PATCH /v1/quotas/{quota_id}': {
    ...{ roles: ADMINS, tenant: 'path', status: 200 },
    request: ({ quotaId, n }) => ({ path: `/${quotaId}`, body: { limit_usd: n } }),
  },
  'DELETE /v1/quotas/{quota_id}': {
    ...{ roles: ADMINS, tenant: 'path', status: 204, request: ({ quotaId }) => ({ path: `/${quotaId}` }) },
  },
  'GET /v1/quotas/{quota_id}/history': {
    ...{ roles: READERS, tenant: 'path', status: 200, request: ({ quotaId }) => ({ path: `/${quotaId}` }) },
  },
  'GET /v1/quota-defaults': { roles: READERS, tenant: 'nowhere', status: 200 },
  'PUT /v1/quota-defaults': {
    ...{ roles: ADMINS, tenant: 'nowhere', status: 200 },
    request: () => ({ body: { scope: 'user', resource_type: 'e2b', period: 'total', limit_usd: 9 } }),
  },
  'DELETE /v1/quota-defaults': {
    ...{ roles: ADMINS, tenant: 'nowhere', status: 204 },
    request: () => ({ query: '?scope=user&resource_type=e2b&period=total' }),
  },
  'GET /v1/pricing/models': { roles: READERS, tenant: 'nowhere', status: 200 },
  'POST /v1/pricing/models': {
    ...{ roles: ADMINS, tenant: 'nowhere', status: 201 },
    request: ({ n }) => ({ body: { provider: 'maker', model: `m-${n}`, usd_per_mtok: { input: 1, output: 1 } } }),
  },
  'GET /v1/pricing/e2b': { roles: READERS, tenant: 'nowhere', status: 200 },
  'POST /v1/pricing/e2b': {
    ...{ roles: ADMINS, tenant: 'nowhere', status: 201 },
    request: ({ n }) => ({
      body: { tier: 'standard', region: `r-${n}`, usd_per_vcpu_second: 1, usd_per_gib_second: 1 },
    }),
  },
  'POST /v1/pricing/sync': {
    roles: ADMINS,
    tenant: 'nowhere',
    status: 200,
    request: () => ({ body: { dry_run: true } }),
  },
  'POST /v1/api-keys': {
    ...{ roles: ADMINS, tenant: 'body', status: 201 },
    request: ({ tenant }) => ({ body: { name: 'n', role: 'viewer', tenant_id: tenant ?? null } }),
  },
  'GET /v1/api-keys': { roles: ADMINS, tenant: 'nowhere', status: 200 },
  'POST /v1/api-keys/{key_id}/rotate': {
    ...{ roles: ADMINS, tenant: 'path', status: 200, request: ({ keyId }) => ({ path: `/${keyId}`, body: {} }) },
  },
  'DELETE /v1/api-keys/{key_id}': {
    ...{ roles: ADMINS, tenant: 'path', status: 204, request: ({ keyId }) => ({ path: `/${keyId}` }) },
  },
  'GET /v1/webhook-endpoints': { roles: ADMINS, tenant: 'nowhere', status: 200 },
  'POST /v1/webhook-endpoints': {
    ...{ roles: ADMINS, tenant: 'body', status: 201 },
    request: ({ tenant }) => ({ body: hookOf(tenant) }),
  },
  'GET /v1/webhook-endpoints/{endpoint_id}': { roles: ADMINS, tenant: 'path', status: 200, request: ofEndpoint() },
  'PATCH /v1/webhook-endpoints/{endpoint_id}': {
    ...{ roles: ADMINS, tenant: 'path', status: 200, request: ofEndpoint({ types: [] }) },
  },
  'DELETE /v1/webhook-endpoints/{endpoint_id}': { roles: ADMINS, tenant: 'path', status: 204, request: ofEndpoint() },
  'POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret': {
    ...{ roles: ADMINS, tenant: 'path', status: 200, request: ofEndpoint({}) },
  },
  'POST /v1/webhook-endpoints/{endpoint_id}/test': {
    ...{ roles: ADMINS, tenant: 'path', status: 202, request: ofEndpoint({}) },
  },
  'GET /v1/webhook-endpoints/{endpoint_id}/deliveries': {
    ...{ roles: ADMINS, tenant: 'path', status: 200, request: ofEndpoint() },
  },
  'POST /v1/deliveries/{delivery_id}/redeliver': {
    ...{ roles: ADMINS, tenant: 'path', status: 202 },
    request: ({ deliveryId }) => ({ path: `/${deliveryId}`, body: {} }),
  },
  'GET /v1/integrity': { roles: READERS, tenant: 'nowhere', status: 200, bound: 403 },
  'GET /v1/audit-log': { roles: ADMINS, tenant: 'nowhere', status: 200 },
  'GET /healthz': { roles: OPEN, tenant: 'nowhere', status: 200 },
  'GET /readyz': { roles: OPEN, tenant: 'nowhere', status: 200 },
  'GET /problems/{code}': { roles: OPEN, tenant: 'nowhere', status: 200, request: () => ({ path: '/not-found' }) },
}

type Principal = { name: string; role: string; bound: boolean; headers: Record<string, string> }
const principal = async (role: 'admin' | 'service' | 'viewer', tenant?: string): Promise<Principal> => ({
  name: tenant === undefined ? role : `${role} of a tenant`,
  role,
  bound: tenant !== undefined,
  headers: await service.keyFor(role, tenant),
})
const PRINCIPALS: Principal[] = [
  { name: 'nobody', role: 'none', bound: false, headers: { authorization: '' } },
  { name: 'a wrong key', role: 'none', bound: false, headers: { authorization: `Bearer ${'x'.repeat(40)}` } },
  await principal('admin'),
  await principal('service'),
  await principal('viewer'),
  await principal('service', MINE),
  await principal('viewer', MINE),
]

let made = 0
/** Makes a new thing of the kind that the path names, so that no request sees the changes of another. */
async function makeSubject(tenant: string, path: string): Promise<Subject> {
  const subject = { ...nothing(), tenant }
  const ask = async (method: string, url: string, body: object) => {
    const answer = await service.call(method, url, body)
    if (answer.status >= 300) throw new Error(answer.text)
    return answer.json
  }
  const who = {
    tenant_id: tenant,
    user_id: `user-${subject.n}-of-${tenant}`,
    conversation_id: `conversation-of-${tenant}`,
  }
  const spend = { resource_type: 'llm', ...who }
  if (path.includes('{id}')) {
    const held = await ask('POST', '/v1/reservations', { ...spend, estimated_cost_usd: 0.01 })
    subject.reservationId = held.reservation_id
  }
  if (path.includes('{cost_record_id}')) {
    const { data } = await ask('POST', '/v1/cost-records', { records: [{ ...spend, cost_usd: 1 }] })
    subject.recordId = data[0].cost_record_id
  }
  if (path.includes('{quota_id}')) {
    const key = { scope: 'user', tenant_id: tenant, user_id: who.user_id, period: 'day' }
    subject.quotaId = (await ask('PUT', '/v1/quotas', { ...key, limit_usd: 1_000_000 })).quota_id
  }
  if (path.includes('{key_id}')) {
    const key = await ask('POST', '/v1/api-keys', { name: `key of ${tenant}`, role: 'viewer', tenant_id: tenant })
    subject.keyId = key.key_id
  }
  if (path.includes('{endpoint_id}') || path.includes('{delivery_id}')) {
    // At most a hundred endpoints can exist.
    await database.pool.query('delete from copilot_internal.webhook_endpoints')
    subject.endpointId = (await ask('POST', '/v1/webhook-endpoints', hookOf(tenant))).endpoint_id
  }
  if (path.includes('{delivery_id}')) {
    subject.deliveryId = randomUUID()
    await database.pool.query(
      `insert into copilot_internal.webhook_deliveries (delivery_id, endpoint_id, status, created_at, settled_at)
       values ($1, $2, 'failed', now(), now())`,
      [subject.deliveryId, subject.endpointId],
    )
  }
  return subject
}

function nothing(): Subject {
  made += 1
  return {
    tenant: undefined,
    reservationId: UNKNOWN,
    recordId: UNKNOWN,
    quotaId: 999_999,
    keyId: UNKNOWN,
    endpointId: UNKNOWN,
    deliveryId: UNKNOWN,
    n: made,
  }
}

/**
 * Everything stored, or everything of the other tenant. Prices are represented by their edition. Leaves out when a key was
 * last used, and the rollups, which a job makes of cost records meanwhile.
 */
const STORED = await (async () => {
  const { rows } = await database.pool.query<{ name: string; has_tenant: boolean }>(`
    select c.relname as name, exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') as has_tenant
    from pg_class c where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind in ('r', 'p')
      and c.relname not in ('model_pricing', 'e2b_pricing', 'model_aliases', 'cost_tail', 'cost_rollups') order by 1`)
  const part = (what: string, name: string, where: string) =>
    `select '${what}' as what, md5(string_agg(r.row::text, ',' order by r.row::text)) as sum
     from (select to_jsonb(t) - 'last_used_at' as row from copilot_internal.${name} t ${where}) r`
  const own = rows.filter(({ has_tenant: has }) => has)
  return [
    ...rows.map(({ name }) => part(`whole ${name}`, name, '')),
    ...own.map(({ name }) => part(`theirs ${name}`, name, `where t.tenant_id = '${THEIRS}'`)),
  ].join(' union all ')
})()

async function readStored(): Promise<{ whole: string; theirs: string }> {
  const { rows } = await database.pool.query<{ what: string }>(STORED)
  const of = (begin: string) => JSON.stringify(rows.filter(({ what }) => what.startsWith(begin)))
  return { whole: of('whole'), theirs: of('theirs') }
}

/** The expected status. */
function expectedStatus(row: Row, { role, bound }: Principal, which: Case): number {
  if (row.roles === OPEN) return row.status
  if (role === 'none') return 401
  if (!row.roles.includes(role)) return 403
  if (bound && row.bound !== undefined) return row.bound
  if (row.tenant === 'path' && which === 'none') return 404
  if (bound && which === 'other') return row.tenant === 'path' ? 404 : 403
  if (!bound && which === 'none') return row.unnamed ?? row.status
  return row.status
}

const { paths } = parse(readFileSync(new URL('../../../openapi.yaml', import.meta.url), 'utf8')) as {
  paths: Record<string, Record<string, object>>
}

// First makes sure that both tenants and their hour quotas exist.
for (const tenant of [MINE, THEIRS]) {
  await makeSubject(tenant, '{id} {cost_record_id} {quota_id} {key_id} {endpoint_id}')
  await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: tenant, period: 'hour', limit_usd: 1_000 })
}
await service.call('PUT', '/v1/quotas', { scope: 'platform', period: 'hour', limit_usd: 1_000 })

t.test('every route of the contract has a row in this table', async (t) => {
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  t.same(Object.keys(ROUTES).sort(), routes.sort())
})

for (const [route, row] of Object.entries(ROUTES)) {
  t.test(route, async (t) => {
    const [method, template] = route.split(' ') as [string, string]
    for (const who of PRINCIPALS) {
      const cases: Case[] = row.tenant === 'nowhere' ? ['none'] : ['own', 'other', 'none']
      for (const which of cases) {
        const expected = expectedStatus(row, who, which)
        const what = `${who.name}, ${{ own: 'its own tenant', other: 'another tenant', none: 'no tenant' }[which]}`
        if (route === 'DELETE /v1/quota-defaults') {
          await service.call('PUT', '/v1/quota-defaults', ROUTES['PUT /v1/quota-defaults']!.request!(nothing()).body)
        }
        const subject = which === 'none' ? nothing() : await makeSubject(which === 'own' ? MINE : THEIRS, template)
        const { path = '', query = '', body } = row.request?.(subject) ?? {}
        const url = template.replace(/\/\{\w+\}/, path) + query
        const before = await readStored()
        const from = { 'x-forwarded-for': `10.1.${subject.n >> 8}.${subject.n & 255}` }
        const send = () => service.call(method, url, body, { ...from, ...who.headers })
        let answer = await send()
        // A busy machine may exceed an answer's deadline. The change was made by then, or can be requested again.
        for (let tries = 1; answer.status === 503 && tries < RETRIES_MAX; tries += 1) answer = await send()
        const after = await readStored()
        t.equal(answer.status, expected, `${what}: ${answer.text.slice(0, 300)}`)
        if (method === 'GET' || answer.status >= 400) t.equal(after.whole, before.whole, `${what}: nothing changed`)
        if (!who.bound) continue
        t.notMatch(answer.text, MARK, `${what}: shows nothing of another tenant`)
        t.equal(after.theirs, before.theirs, `${what}: changes nothing of another tenant`)
      }
    }
  })
}

t.test('Postgres itself limits a bound key’s reads to its tenant, whatever the query asks for', async (t) => {
  const viewer = PRINCIPALS.at(-1)!
  const subject = await makeSubject(MINE, '{id} {quota_id}')
  const lists = ['/v1/reservations', '/v1/cost-records', '/v1/events', '/v1/quotas'].map(
    (path) => `${path}?tenant_id=${MINE}`,
  )
  const things = [
    `/v1/reservations/${subject.reservationId}`,
    `/v1/quotas/${subject.quotaId}`,
    `/v1/quotas/${subject.quotaId}/history`,
  ]
  const ask = async (path: string) =>
    service.call('GET', path, undefined, { ...viewer.headers, 'cache-control': 'no-cache' })
  const sums = async () => (await ask(`/v1/costs?tenant_id=${MINE}`)).json.total.records
  const exported = async () => (await ask(`/v1/costs/export?format=jsonl&tenant_id=${MINE}`)).text
  const scopes = async () =>
    (await ask(`/v1/quotas/status?tenant_id=${MINE}`)).json.data.map(({ scope }: { scope: string }) => scope)

  for (const path of lists.filter((one) => !one.startsWith('/v1/events')))
    t.not((await ask(path)).json.data.length, 0, path)
  for (const path of things) t.equal((await ask(path)).status, 200, path)
  t.ok((await sums()) > 0)
  t.not(await exported(), '')
  t.ok((await scopes()).includes('tenant'))

  // With policies that allow no row, the same statements find nothing.
  const { rows } = await database.pool.query<{ statement: string }>(`
    select format('alter policy %I on %s using (false)', polname, polrelid::regclass) as statement
    from pg_policy where polname = 'own_tenant'`)
  for (const { statement } of rows) await database.pool.query(statement)
  for (const path of lists) t.match(await ask(path), { status: 200, json: { data: { length: 0 } } }, path)
  for (const path of things) t.equal((await ask(path)).status, 404, path)
  t.equal(await sums(), 0)
  t.equal(await exported(), '')
  t.notOk((await scopes()).includes('tenant'))
})
