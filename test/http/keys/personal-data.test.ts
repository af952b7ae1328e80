// The books contain no personal data: every text of a caller is an id, a label or a reason.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { dereferenced } from '../../helpers/contract.ts'
import { createDatabase } from '../../helpers/database.ts'
import type { Schema } from '../../helpers/fuzz.ts'
import { startService } from '../../helpers/servers/service.ts'

const EMAIL = 'someone@example.com'
/**
 * Text fields that may contain anything, because the service counts, decodes, parses or looks them up and keeps nothing. The
 * idempotency key has its own rules and is deleted with its reservation.
 */
const FREE = ['/llm/text', 'cursor', 'group_by', 'code', 'idempotency-key']

type Text = Schema & { pattern?: string; format?: string; items?: Schema; patternProperties?: Record<string, Schema> }
type Operation = {
  parameters?: { name: string; schema: Schema }[]
  requestBody?: { content: { 'application/json': { schema: Schema } } }
}
const published = readFileSync(new URL('../../../openapi.yaml', import.meta.url), 'utf8')
const { paths } = dereferenced(parse(published) as { paths: Record<string, Record<string, Operation>> })

function* freeTexts(schema: Text, at: string): Generator<string> {
  const isFree = schema.enum === undefined && schema.const === undefined
  if ([schema.type].flat().includes('string') && isFree && schema.pattern === undefined && schema.format === undefined)
    yield at
  for (const [name, of] of Object.entries({ ...schema.properties, ...schema.patternProperties }))
    yield* freeTexts(of, `${at}/${name}`)
  if (typeof schema.additionalProperties === 'object') yield* freeTexts(schema.additionalProperties, `${at}/*`)
  if (schema.items !== undefined) yield* freeTexts(schema.items, `${at}[]`)
  for (const branch of schema.anyOf ?? []) yield* freeTexts(branch, at)
}

t.test('every text field of a request has a checked format, except the listed free texts', async (t) => {
  const found = Object.values(paths).flatMap((methods) =>
    Object.values(methods).flatMap(({ parameters = [], requestBody }) => [
      ...parameters.flatMap(({ name, schema }) => [...freeTexts(schema, name)]),
      ...(requestBody === undefined ? [] : freeTexts(requestBody.content['application/json'].schema, '')),
    ]),
  )
  t.same([...new Set(found)].sort(), FREE.toSorted())
})

const database = await createDatabase(t)
const HOLD = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: 0.01 }
const KEPT: [string, string, object, Record<string, string>?][] = [
  ...['tenant_id', 'user_id', 'conversation_id', 'path_id'].map(
    (name) => ['POST', '/v1/reservations', { ...HOLD, [name]: EMAIL }] as [string, string, object],
  ),
  ['POST', '/v1/reservations', { ...HOLD, labels: { who: `<${EMAIL}>` } }],
  ['POST', '/v1/cost-records', { records: [{ resource_type: 'llm', tenant_id: EMAIL, cost_usd: 1 }] }],
  ['PUT', '/v1/quotas', { scope: 'tenant', tenant_id: EMAIL, period: 'day', limit_usd: 1 }],
  ['PUT', '/v1/quotas', { scope: 'platform', period: 'day', limit_usd: 1 }, { 'x-purser-reason': `asked by ${EMAIL}` }],
  ['POST', '/v1/api-keys', { name: `key of ${EMAIL}`, role: 'viewer' }],
]

t.test('a value like an e-mail address is refused, and nothing of it is written', async (t) => {
  const service = await startService(t, database.url)
  const held = await service.call('POST', '/v1/reservations', HOLD)
  const path = `/v1/reservations/${held.json.reservation_id}`
  for (const [method, url, body, headers] of [
    ...KEPT,
    ['POST', `${path}/release`, { reason: `asked by ${EMAIL}` }] as const,
    ['POST', `${path}/commit`, { actual_cost_usd: 0, sandbox_id: EMAIL }] as const,
    ['POST', `${path}/commit`, { actual_cost_usd: 0, call: { outcome: EMAIL } }] as const,
    ['POST', `${path}/commit`, { actual_cost_usd: 0, call: { error: { type: EMAIL } } }] as const,
  ]) {
    const answer = await service.call(method, url, body, headers)
    t.match(answer, { status: 400, json: { code: 'invalid_request' } }, `${url} ${JSON.stringify(body)}`)
  }
  t.match((await service.call('GET', path)).json, { status: 'reserved' })
  const { rows } = await database.pool.query<{ name: string }>(`
    select relname as name from pg_class where relnamespace = 'copilot_internal'::regnamespace and relkind in ('r', 'p')`)
  for (const { name } of rows) {
    const found = await database.pool.query(
      `select from copilot_internal.${name} r where to_jsonb(r)::text like '%${EMAIL}%'`,
    )
    t.equal(found.rowCount, 0, name)
  }
})

t.test('PURSER_ALLOW_EMAIL_IDS accepts e-mail addresses as ids', async (t) => {
  const service = await startService(t, database.url, { PURSER_ALLOW_EMAIL_IDS: '1' })
  for (const [method, url, body, headers] of KEPT) {
    const { status, text } = await service.call(method, url, body, headers)
    t.ok(status === 200 || status === 201, `${url}: ${text}`)
  }
})
