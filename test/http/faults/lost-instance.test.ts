import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService } from '../../helpers/servers/service.ts'
import { startTcpProxy } from '../../helpers/servers/tcp-proxy.ts'

// Two instances. The connection of one to Postgres can be broken.
const database = await createDatabase(t)
const proxy = await startTcpProxy(t, Number(new URL(database.url).port))
const lost = await startService(t, proxy.through(database.url), { LOG_LEVEL: 'silent' })
const other = await startService(t, database.url)

const tenant = { resource_type: 'llm', tenant_id: 'acme' }
const quota = { scope: 'tenant', tenant_id: 'acme', period: 'day', limit_usd: 10 }
const reserve = () => other.call('POST', '/v1/reservations', { ...tenant, estimated_cost_usd: 0.01 })
const made = await other.call('PUT', '/v1/quotas', quota)
const byDefault = { scope: 'user', period: 'month', limit_usd: 5 }
await other.call('PUT', '/v1/quota-defaults', byDefault)
const booked = await other.call('POST', '/v1/cost-records', {
  records: [{ ...tenant, cost_usd: 1, idempotency_key: 'once' }],
})

/** Sends a request while the proxy withholds Postgres's answer to it. Resolves once Postgres has answered. */
async function sendAndLose(sql: string, method: string, path: string, body?: unknown): Promise<void> {
  proxy.keepBackAnswersTo(sql)
  let answered: string | undefined
  void lost.call(method, path, body).then(
    ({ text }) => (answered = text),
    () => {},
  )
  while (proxy.keptBack() === 0) {
    if (answered !== undefined) throw new Error(`answered, not lost: ${answered}`)
    await turn()
  }
}

const path = `/v1/quotas/${made.json.quota_id}`
const correction = `/v1/cost-records/${booked.json.data[0].cost_record_id}/correct`
const changes: [sql: string, method: string, path: string, body?: unknown][] = [
  ['set_quotas', 'PUT', '/v1/quotas', { ...quota, limit_usd: 20 }],
  ['set_quotas', 'PUT', '/v1/quotas/bulk', { quotas: [{ ...quota, limit_usd: 30 }] }],
  ['patch_quota', 'PATCH', path, { limit_usd: 40 }],
  ['delete_quota', 'DELETE', path],
  ['put_quota_default', 'PUT', '/v1/quota-defaults', { ...byDefault, limit_usd: 6 }],
  ['delete_quota_default', 'DELETE', '/v1/quota-defaults?scope=user&period=month'],
  ['correct_record', 'POST', correction, { cost_usd: 2, reason: 'was too little' }],
]
for (const [sql, method, url, body] of changes) {
  t.test(`${method} ${url} is made and blocks no decision if its instance never gets the answer`, async (t) => {
    const { rows: before } = await database.pool.query('select max(audit_id) as id from copilot_internal.audit_log')
    await sendAndLose(`copilot_internal.${sql}(`, method, url, body)
    t.match(await reserve(), { status: 201 })
    const { rows } = await database.pool.query(
      'select audit_id from copilot_internal.audit_log where audit_id > $1 and principal like $2',
      [before[0].id, 'key:%'],
    )
    t.equal(rows.length, 1)
    proxy.keepBackAnswersTo(null)
  })
}

t.test('an instance that freezes in the middle of a change keeps its locks for ten seconds', async (t) => {
  const { json: key } = await other.call('POST', '/v1/api-keys', { name: 'to be revoked', role: 'service' })
  const revoke = `/v1/api-keys/${key.key_id}`
  await sendAndLose('copilot_internal.api_keys where key_id', 'DELETE', revoke)
  process.kill(lost.pid, 'SIGSTOP')
  t.teardown(() => process.kill(lost.pid, 'SIGCONT'))
  t.match(await other.call('DELETE', revoke), { status: 503 })
  let revoked = await other.call('DELETE', revoke)
  while (revoked.status === 503) revoked = await other.call('DELETE', revoke)
  t.equal(revoked.status, 204)
  await assertHealthy(t, database.pool)
})
