import t, { type Test } from 'tap'
import { runCli } from '../../helpers/servers/cli.ts'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const { pool } = database
const service = await startService(t, database.url)
const adminKeys = await service.call('GET', '/v1/api-keys')
const principal = `key:${adminKeys.json.data[0].key_id}`

type Entry = {
  audit_id: number
  action: string
  subject: string
  principal: string
  hash: string
  previous_hash: string | null
}
const log = async (query = ''): Promise<Entry[]> => (await service.call('GET', `/v1/audit-log?${query}`)).json.data
const put = (tenantId: string, limitUsd: number | string, headers: Record<string, string> = {}) =>
  service.call(
    'PUT',
    '/v1/quotas',
    { scope: 'tenant', tenant_id: tenantId, period: 'day', limit_usd: limitUsd },
    headers,
  )

const audit = (...args: string[]) => runCli('audit', database.url, args)

t.test('each quota change is written with its principal, address, before, after and reason', async (t) => {
  // A header is sent as bytes: here UTF-8, as curl does.
  const reason = 'Größe – für den Start'
  const bytes = Buffer.from(reason).toString('latin1')
  const made = await put('acme', '12.000000000001', { 'x-purser-reason': bytes })
  const path = `/v1/quotas/${made.json.quota_id}`
  await put('acme', 20)
  await service.call('PATCH', path, { raise: { limit_usd: 30, until: '2030-01-01T00:00:00Z' } })
  await service.call('DELETE', path)
  const subject = `quota:${made.json.quota_id}`
  const entries = (await log()).filter((entry) => entry.subject === subject).toReversed()
  t.match(entries, [
    { action: 'quota.create', principal, ip: '127.0.0.1', reason, before: null, after: { tenant_id: 'acme' } },
    {
      action: 'quota.update',
      reason: null,
      before: { limit_usd: 12.000000000001, raise: null },
      after: { limit_usd: 20 },
    },
    {
      action: 'quota.update',
      before: { raise: null },
      after: { raise: { limit_usd: 30, until: '2030-01-01T00:00:00.000Z' } },
    },
    { action: 'quota.delete', before: { limit_usd: 20 }, after: null },
  ])
  t.match((await service.call('GET', '/v1/audit-log')).text, '"limit_usd":12.000000000001', 'amounts are exact')
  for (const [n, entry] of entries.entries()) {
    t.match(entry.hash, /^[0-9a-f]{64}$/)
    if (n > 0) t.equal(entry.previous_hash, entries[n - 1]!.hash)
  }
})

t.test(
  'changes of defaults and keys and bulk changes are written; failed changes and the environment’s are not',
  async (t) => {
    const [last] = await log('limit=1')
    await service.call(
      'PUT',
      '/v1/quota-defaults',
      { scope: 'user', period: 'day', limit_usd: 3 },
      { 'x-purser-reason': 'why' },
    )
    await service.call('PUT', '/v1/quota-defaults', { scope: 'user', period: 'day', limit_usd: 4 })
    await service.call('DELETE', '/v1/quota-defaults?scope=user&period=day')
    const key = await service.call('POST', '/v1/api-keys', { name: 'audited', role: 'viewer' })
    await service.call('DELETE', `/v1/api-keys/${key.json.key_id}`)
    await service.call('DELETE', `/v1/api-keys/${key.json.key_id}`)
    const quota = { scope: 'tenant', period: 'day', limit_usd: 1 }
    await service.call('PUT', '/v1/quotas/bulk', {
      quotas: [
        { ...quota, tenant_id: 'b-1' },
        { ...quota, tenant_id: 'b-2' },
      ],
    })
    await service.call('PUT', '/v1/quotas/bulk', { quotas: [{ ...quota, tenant_id: 'b-3' }, quota] })
    await service.call('DELETE', '/v1/quotas/999999')
    await put('acme', -1)
    await startService(t, database.url, { PURSER_DEFAULT_LLM_USD_PER_DAY: '17' })
    const entries = (await log()).filter((entry) => entry.audit_id > (last?.audit_id ?? 0)).toReversed()
    t.match(entries, [
      { action: 'quota_default.create', subject: 'quota_default:user/llm/day', reason: 'why', before: null },
      { action: 'quota_default.update', before: { limit_usd: 3 }, after: { limit_usd: 4 } },
      { action: 'quota_default.delete', after: null },
      { action: 'api_key.create', subject: `api_key:${key.json.key_id}`, after: { name: 'audited', role: 'viewer' } },
      { action: 'api_key.revoke', before: { revoked_at: null }, after: { revoked_at: String } },
      { action: 'quota.create', after: { tenant_id: 'b-1' } },
      { action: 'quota.create', after: { tenant_id: 'b-2' } },
    ])
    t.equal(entries.length, 7)
    t.notMatch(JSON.stringify(await log('limit=1000')), key.json.key, 'a secret is never written')
  },
)

t.test('prices and corrections are written with their principal and reason', async (t) => {
  const [last] = await log('limit=1')
  const post = (path: string, body: object, headers: Record<string, string> = {}) =>
    service.call('POST', path, body, headers)
  const model = { provider: 'openai', model: 'audited-1', effective_date: '2026-01-01T00:00:00Z' }
  const why = { 'x-purser-reason': 'their new list' }
  const first = await post(
    '/v1/pricing/models',
    { ...model, usd_per_mtok: { input: '1.000000000001', output: 2 } },
    why,
  )
  const next = await post('/v1/pricing/models', {
    ...model,
    usd_per_mtok: { input: 3, output: 4 },
    replaces: first.json.price_id,
  })
  t.equal((await post('/v1/pricing/models', { ...model, usd_per_mtok: { input: 5, output: 6 } })).status, 409)
  const tier = { tier: 'audited', vcpu: 1, memory_mib: 512, usd_per_vcpu_second: 0.1, usd_per_gib_second: 0.2 }
  await post('/v1/pricing/e2b', tier)
  await post('/v1/pricing/sync', { dry_run: true })
  const record = { resource_type: 'llm', tenant_id: 'audited', cost_usd: 1, idempotency_key: 'audited-1' }
  const { json } = await post('/v1/cost-records', { records: [record] })
  const [{ cost_record_id: id }] = json.data
  const corrected = await post(`/v1/cost-records/${id}/correct`, { cost_usd: '0.5', reason: 'invoice 7' })
  t.equal((await post(`/v1/cost-records/${id}/correct`, { cost_usd: 9, reason: 'again' })).status, 409)
  const entries = (await log()).filter((entry) => entry.audit_id > (last?.audit_id ?? 0)).toReversed()
  t.match(entries, [
    {
      ...{
        action: 'price.create',
        subject: 'price:openai/audited-1',
        principal,
        ip: '127.0.0.1',
        reason: 'their new list',
      },
      before: null,
      after: { price_id: first.json.price_id, usd_per_mtok: { input: 1.000000000001 } },
    },
    {
      action: 'price.replace',
      before: { price_id: first.json.price_id, usd_per_mtok: { input: 1.000000000001 } },
      after: { price_id: next.json.price_id, usd_per_mtok: { input: 3 } },
    },
    { action: 'price.create', subject: 'price:e2b/audited/us-east-1', after: { usd_per_vcpu_second: 0.1 } },
    {
      ...{ action: 'cost_record.correct', subject: `cost_record:${id}`, principal, reason: 'invoice 7' },
      before: { cost_record_id: id, cost_usd: '1' },
      after: { cost_record_id: corrected.json.data[1].cost_record_id, cost_usd: '0.5' },
    },
  ])
  t.equal(entries.length, 4)
})

t.test('the audit log is filtered, paged and for administrators only', async (t) => {
  const all = await log('limit=1000')
  t.same(
    all.map(({ audit_id: id }) => id),
    Array.from(all, (_, n) => all.length - n),
    'newest first, without a gap',
  )
  t.ok((await log('action=quota.create')).every(({ action }) => action === 'quota.create'))
  t.same(await log('action=quota.explode'), [])
  t.equal((await log(`principal=${principal}&limit=1000`)).length, all.length)
  t.same(await log('principal=key:nobody'), [])
  t.equal((await log('from=2020-01-01T00:00:00Z&limit=1000')).length, all.length)
  t.same(await log('from=2999-01-01T00:00:00%2B01:00'), [])
  const walked: number[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await service.call('GET', `/v1/audit-log?limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`)
    walked.push(...page.json.data.map(({ audit_id: id }: Entry) => id))
    cursor = page.json.next_cursor
  }
  t.same(
    walked,
    all.map(({ audit_id: id }) => id),
  )
  for (const [query, pointer] of [
    ['from=yesterday', 'from'],
    ['limit=0', 'limit'],
    ['cursor=x', 'cursor'],
    ['colour=red', 'colour'],
    ['action=', 'action'],
  ])
    t.match(
      await service.call('GET', `/v1/audit-log?${query}`),
      { status: 400, json: { errors: [{ pointer }] } },
      String(query),
    )
  for (const role of ['viewer', 'service'] as const)
    t.equal((await service.call('GET', '/v1/audit-log', undefined, await service.keyFor(role))).status, 403)
})

t.test('a reason that contains personal data is refused', async (t) => {
  for (const reason of ['x'.repeat(501), 'asked by jane.doe@example.com', Buffer.from('a\u0085b').toString('latin1')]) {
    const answer = await put('acme', 1, { 'x-purser-reason': reason })
    t.match(answer, { status: 400, json: { errors: [{ pointer: 'x-purser-reason' }] } }, reason.slice(0, 40))
  }
})

t.test('Postgres refuses every change of the audit log, in any replication role', async (t) => {
  const client = await pool.connect()
  t.teardown(() => client.release(true))
  for (const role of ['origin', 'replica']) {
    await client.query(`set session_replication_role = ${role}`)
    for (const statement of [
      `update copilot_internal.audit_log set reason = 'other'`,
      'delete from copilot_internal.audit_log where audit_id = 1',
      'truncate copilot_internal.audit_log',
      'delete from copilot_internal.audit_log where false',
    ])
      await t.rejects(client.query(statement), { code: '42501' }, `${role}: ${statement}`)
  }
})

/** What check I11 finds after these statements, which are then rolled back. */
async function found(t: Test, ...statements: string[]): Promise<{ subject: string; detail: string }[]> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await client.query('alter table copilot_internal.audit_log disable trigger audit_log_append_only')
    for (const statement of statements) await client.query(statement)
    const { rows } = await client.query(`select * from copilot_internal.check_integrity() where invariant = 'I11'`)
    t.ok(rows.length > 0)
    return rows
  } finally {
    await client.query('rollback')
    client.release()
  }
}

t.test('a changed value in any column of a row is detected', async (t) => {
  const changes = {
    at: `at + interval '1 microsecond'`,
    principal: `'key:somebody'`,
    ip: `'10.0.0.1'`,
    action: `'quota.delete'`,
    subject: `'quota:9'`,
    before: `'{"limit_usd": 1}'`,
    after: `jsonb_set(coalesce(after, '{}'), '{limit_usd}', '1000000')`,
    reason: `'another'`,
    hash: `repeat('0', 64)`,
    previous_hash: `repeat('0', 64)`,
  }
  for (const [column, value] of Object.entries(changes)) {
    const rows = await found(t, `update copilot_internal.audit_log set ${column} = ${value} where audit_id = 2`)
    t.match(rows, [{ subject: /^audit [23]$/ }], column)
  }
  t.match(await found(t, 'delete from copilot_internal.audit_log where audit_id = 3'), [{ subject: 'audit 4' }, {}])
  t.match(
    await found(
      t,
      'delete from copilot_internal.audit_log where audit_id = (select max(audit_id) from copilot_internal.audit_log)',
    ),
    [{ subject: 'audit head' }],
    'removed last rows are detected',
  )
  await found(t, 'delete from copilot_internal.audit_log')
  await found(t, 'delete from copilot_internal.audit_head')
  const rewritten = `update copilot_internal.audit_log a set reason = 'x', hash = copilot_internal.audit_hash(
    a.audit_id, a.at, a.principal, a.ip, a.action, a.subject, a.before, a.after, 'x', a.previous_hash) where audit_id = 2`
  t.match(
    await found(t, rewritten),
    [{ subject: 'audit 3' }],
    'a row with a recomputed hash breaks the link of the next one',
  )
  await assertHealthy(t, pool)
})

t.test('concurrent changes form one chain', async (t) => {
  const before = (await log('limit=1'))[0]!.audit_id
  const answers = await Promise.all(
    Array.from({ length: 24 }, (_, n) =>
      n % 2 === 0
        ? put(`at-once-${n % 6}`, n)
        : service.call('POST', '/v1/api-keys', { name: `k${n}`, role: 'viewer' }),
    ),
  )
  t.ok(answers.every(({ status }) => status === 200 || status === 201))
  t.equal((await log('limit=1'))[0]!.audit_id, before + 24)
  await assertHealthy(t, pool)
})

t.test('npm run audit verifies and exports', async (t) => {
  const sound = await audit('verify')
  t.match(sound, { code: 0, stdout: /^\d+ entries, the chain verifies; the last hash is [0-9a-f]{64}\n$/ })
  const json = await audit('verify', '--json')
  const entries = await log('limit=1000')
  t.match(JSON.parse(json.stdout), { entries: entries.length, head_hash: entries[0]!.hash, broken: [] })

  const exported = await audit('export', '--json')
  t.same(JSON.parse(exported.stdout), entries.toReversed(), 'the same entries as the API, oldest first')
  const lines = (await audit('export', '--action', 'quota.create')).stdout.trim().split('\n')
  t.same(
    lines.map((line) => JSON.parse(line).action),
    lines.map(() => 'quota.create'),
  )
  t.same((await audit('export', '--from', '2999-01-01T00:00:00Z')).stdout, '')

  t.match(await audit('--help'), { code: 0, stdout: /Usage: npm run audit/ })
  t.match(await audit('explode'), { code: 2, stderr: /Unknown command: explode/ })
  t.match(await audit('verify', '--action', 'x'), { code: 2, stderr: /--action goes with export/ })
  t.match(await audit('export', '--from', 'yesterday'), { code: 2, stderr: /--from/ })

  await pool.query('alter table copilot_internal.audit_log disable trigger audit_log_append_only')
  await pool.query(`update copilot_internal.audit_log set reason = 'forged' where audit_id = 1`)
  await pool.query('alter table copilot_internal.audit_log enable always trigger audit_log_append_only')
  t.match(await audit('verify'), { code: 1, stdout: /audit 1: its hash is not that of its content/ })
})
