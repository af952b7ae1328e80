// Client generators and readers need names, descriptions and correct examples in openapi.yaml.
import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { parse } from 'yaml'
import { formatsOf } from '../../src/schemas/formats.ts'
import { dereferenced } from '../helpers/contract.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { startService } from '../helpers/servers/service.ts'

type Media = { schema: object; example?: unknown; examples?: Record<string, { value: unknown }> }
type Parameter = { in: string; name: string; required?: boolean; schema: object; example?: unknown }
type Operation = {
  operationId: string
  parameters?: Parameter[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { description: string; content?: Record<string, Media> }>
}
type Document = {
  components: { schemas: Record<string, object>; responses: Record<string, object> }
  paths: Record<string, Record<string, Operation>>
}

const text = readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8')
const contract = parse(text) as Document
const operations = Object.entries(dereferenced(contract).paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ ...operation, method: method.toUpperCase(), path })),
)

const ajv = new Ajv2020({ strict: false, allErrors: true })
for (const [name, format] of Object.entries(formatsOf({ allowEmailIds: false }))) ajv.addFormat(name, format)

/** What is wrong with an example, or null. */
function faultOf(schema: object, example: unknown): string | null {
  return ajv.validate(schema, example) ? null : ajv.errorsText()
}

function examplesOf({ example, examples = {} }: Media): unknown[] {
  return example === undefined ? Object.values(examples).map(({ value }) => value) : [example]
}

t.test('every component has a unique name and is used', async (t) => {
  for (const [kind, components] of Object.entries({
    schemas: contract.components.schemas,
    responses: contract.components.responses,
  })) {
    const names = Object.keys(components)
    t.ok(names.length > 10, `${names.length} ${kind}`)
    for (const name of names) {
      // Only the name of the sandboxes (e2b) has a digit.
      t.match(name.replace('E2b', ''), /^[A-Z][A-Za-z]*$/, name)
      t.ok(text.includes(`"#/components/${kind}/${name}"`), `${name} is used`)
    }
  }
})

t.test('every JSON body and answer is a named schema', async (t) => {
  for (const { operationId, requestBody, responses } of Object.values(contract.paths).flatMap((methods) =>
    Object.values(methods),
  )) {
    for (const { content = {} } of [requestBody ?? {}, ...Object.values(responses)] as {
      content?: Record<string, Media>
    }[]) {
      const { schema } = content['application/json'] ?? {}
      if (schema !== undefined) t.same(Object.keys(schema), ['$ref'], operationId)
    }
  }
})

t.test('every answer describes its status', async (t) => {
  t.notMatch(text, /Default Response/)
  for (const { operationId, responses } of operations) {
    for (const [status, { description }] of Object.entries(responses))
      t.ok(description.length > 5, `${operationId} ${status}`)
  }
})

t.test('every operation has examples, and each of them fits its schema', async (t) => {
  const check = (what: string, schema: object, examples: unknown[]) => {
    t.ok(examples.length > 0, `${what} has an example`)
    for (const example of examples) t.equal(faultOf(schema, example), null, what)
  }
  for (const { operationId, parameters = [], requestBody, responses } of operations) {
    for (const { name, schema, example } of parameters)
      check(`${operationId} ${name}`, schema, example === undefined ? [] : [example])
    for (const media of Object.values(requestBody?.content ?? {}))
      check(`${operationId} body`, media.schema, examplesOf(media))
    for (const [status, { content = {} }] of Object.entries(responses)) {
      const isOwn = status.startsWith('2') || (operationId === 'reserve' && status === '429')
      for (const media of isOwn ? Object.values(content) : [])
        check(`${operationId} ${status}`, media.schema, examplesOf(media))
    }
  }
})

t.test('the service answers every example as the contract says', async (t) => {
  const database = await createDatabase(t)
  // The clock stands at the moment of the examples.
  await setNow(database, '2026-12-01T09:30:00Z')
  const service = await startService(t, database.url, {
    PURSER_PRICE_FEED: 'none',
    PURSER_SMTP_URL: 'smtp://127.0.0.1:9',
    PURSER_MAIL_FROM: 'purser@acme.example',
  })
  const make = async (method: string, path: string, body: object | undefined, id: string): Promise<string> => {
    const { json, text: answer } = await service.call(method, path, body)
    const made: string | number | undefined = json[id] ?? json.data?.[0][id]
    if (made === undefined) throw new Error(`${path}: ${answer}`)
    return String(made)
  }
  const hook = { kind: 'webhook', url: 'https://hooks.acme.example/purser', types: [] }
  const call = { provider: 'openai', model: 'gpt-6.1-sol' }
  const hold = { resource_type: 'llm', tenant_id: 'acme', llm: { ...call, input_tokens: 100, max_output_tokens: 100 } }
  const record = { resource_type: 'llm', tenant_id: 'acme', llm: { ...call, usage: { output_tokens: 10 } } }
  const quota = { scope: 'tenant', tenant_id: 'acme', period: 'week', limit_usd: 100 }
  /** An existing value for each parameter of a path. */
  const subjects: Record<string, () => Promise<string>> = {
    id: () => make('POST', '/v1/reservations', hold, 'reservation_id'),
    cost_record_id: () => make('POST', '/v1/cost-records', { records: [record] }, 'cost_record_id'),
    quota_id: () => make('PUT', '/v1/quotas', quota, 'quota_id'),
    key_id: () => make('POST', '/v1/api-keys', { name: 'example', role: 'viewer' }, 'key_id'),
    endpoint_id: () => make('POST', '/v1/webhook-endpoints', hook, 'endpoint_id'),
    delivery_id: async () =>
      make('POST', `/v1/webhook-endpoints/${await subjects['endpoint_id']!()}/test`, undefined, 'delivery_id'),
    code: async () => 'quota-exceeded',
  }
  for (const { operationId, method, path, parameters = [], requestBody, responses } of operations) {
    const media = requestBody?.content['application/json']
    for (const body of media === undefined ? [undefined] : examplesOf(media)) {
      let target = path
      for (const [slot, name] of path.matchAll(/\{(\w+)\}/g)) target = target.replace(slot, await subjects[name!]!())
      const query = parameters
        .filter(({ in: place, name }) => place === 'query' && name !== 'cursor')
        .map(({ name, example }) => `${name}=${encodeURIComponent(String(example))}`)
      const {
        status,
        json,
        text: answer,
      } = await service.call(method, query.length > 0 ? `${target}?${query.join('&')}` : target, body)
      const documented = responses[status]
      t.ok(
        status < 300 && documented !== undefined,
        `${operationId} ${JSON.stringify(body) ?? ''}: ${status} ${answer.slice(0, 300)}`,
      )
      const answered = documented?.content?.['application/json']
      if (answered !== undefined)
        t.equal(faultOf(answered.schema, json), null, `${operationId} ${answer.slice(0, 300)}`)
    }
  }
})
