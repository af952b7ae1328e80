import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { buildApp } from '../../src/app.ts'
import { ERROR_HELP, ERRORS, type ErrorCode } from '../../src/errors.ts'
import type { Deps } from '../../src/services/deps.ts'
import { dereferenced } from '../helpers/contract.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService, type Answer } from '../helpers/servers/service.ts'

interface Schema {
  properties: Record<string, Schema>
  required: string[]
  items: Schema
}

interface Operation {
  operationId?: string
  parameters?: { in: string; name: string; required: boolean }[]
  responses: Record<string, { headers?: Record<string, object> }>
}

interface Contract {
  openapi: string
  components: { schemas: Record<string, Schema> }
  paths: Record<string, Record<string, Operation>>
}

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')
const published = await service.call('GET', '/openapi.yaml', undefined, { authorization: '' })
const contract = dereferenced(parse(published.text) as Contract)

/** Every route of the app as `GET /v1/…/{id}`, parsed from the router's own tree: one line a path, indented by prefix. */
async function listRoutes(): Promise<string[]> {
  // The routes do not depend on the use cases; none is called.
  const deps = {} as Deps
  const limits = { decisions: 1, reads: 1, admin: 1 }
  const app = await buildApp({ deps, limits, allowEmailIds: false, version: '0', logger: false })
  await app.ready()
  const tree = app.printRoutes({ commonPrefix: false })
  await app.close()
  const path: string[] = []
  return tree.split('\n').flatMap((line) => {
    const [, indent, part, methods] = /^([│├└─\s]*)(\S+) \(([A-Z, ]+)\)$/.exec(line) ?? []
    if (indent === undefined || part === undefined || methods === undefined) return []
    path.splice(indent.length / 4 - 1, path.length, part)
    return methods.split(', ').map((method) => `${method} ${path.join('').replace(/:(\w+)/g, '{$1}')}`)
  })
}

function listOperations(): { route: string; operationId: string | undefined }[] {
  return Object.entries(contract.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, { operationId }]) => ({
      route: `${method.toUpperCase()} ${path}`,
      operationId,
    })),
  )
}

t.test('/openapi.yaml needs no key, is YAML, and is the committed contract', async (t) => {
  t.equal(published.status, 200)
  t.match(published.headers.get('content-type'), /^application\/yaml/)
  t.match(contract.openapi, /^3\.1\./)
  t.equal(published.text, readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8'))
})

t.test('an export is described by its own content types', (t) => {
  const { responses } = contract.paths['/v1/costs/export']!['get'] as { responses: Record<string, { content: object }> }
  t.same(Object.keys(responses['200']!.content), ['text/csv', 'application/x-ndjson'])
  t.end()
})

t.test('the contract says which bodies are optional', (t) => {
  const optional = Object.values(contract.paths).flatMap((operations) =>
    Object.values(operations).filter(
      (operation) => (operation as { requestBody?: { required: boolean } }).requestBody?.required === false,
    ),
  )
  t.same(
    new Set(optional.map(({ operationId }) => operationId)),
    new Set(['release', 'rotateApiKey', 'rotateWebhookSecret']),
  )
  t.end()
})

t.test('/docs shows the contract to people, without a key', async (t) => {
  const docs = await service.call('GET', '/docs', undefined, { authorization: '' })
  t.equal(docs.status, 200)
  t.match(docs.headers.get('content-type'), /^text\/html/)
  t.match(docs.text, /<title>.*<\/title>/s)
})

t.test('the contract describes every route under /v1 and no other', async (t) => {
  const routes = (await listRoutes()).filter((route) => / \/v1\//.test(route) && !route.startsWith('HEAD '))
  t.ok(routes.includes('POST /v1/reservations/{id}/commit'), 'the routes were found')
  const documented = listOperations()
    .map(({ route }) => route)
    .filter((route) => route.includes(' /v1/'))
  t.same(documented.sort(), routes.sort())
})

t.test('every operation has a unique operationId', async (t) => {
  const names = listOperations().map(({ operationId }) => operationId)
  t.ok(names.length > 0 && names.every((name) => /^[a-z][A-Za-z]+$/.test(name ?? '')))
  t.equal(new Set(names).size, names.length)
})

t.test('/problems/{code} explains every code, in both spellings and without a key', async (t) => {
  for (const [code, { status, title }] of Object.entries(ERRORS)) {
    const type = `/problems/${code.replaceAll('_', '-')}`
    const expected = { type, title, status, description: ERROR_HELP[code as ErrorCode] }
    for (const path of [type, `/problems/${code}`]) {
      const answer = await service.call('GET', path, undefined, { authorization: '' })
      t.equal(answer.status, 200)
      t.same(answer.json, expected, path)
    }
  }
})

t.test('the contract lists exactly the headers and members of a decision', async (t) => {
  const hold = (body: object, headers: Record<string, string> = {}) =>
    service.call(
      'POST',
      '/v1/reservations',
      { resource_type: 'llm', tenant_id: 'told', ...body },
      { ...caller, ...headers },
    )
  const limit = { scope: 'tenant', tenant_id: 'told', period: 'day', limit_usd: 1 }
  await service.call('PUT', '/v1/quotas', limit)
  const granted = await hold({ estimated_cost_usd: 0.5 }, { 'idempotency-key': 'told' })
  const replayed = await hold({ estimated_cost_usd: 0.5 }, { 'idempotency-key': 'told' })
  const refused = await hold({ estimated_cost_usd: 0.6 })
  const unpriced = await hold({ llm: { model: 'no-such-model', input_tokens: 1, max_output_tokens: 1 } })
  await service.call('PUT', '/v1/quotas', { ...limit, enforcement: 'warn' })
  const warned = await hold({ estimated_cost_usd: 0.6 })
  t.same(
    [granted, replayed, refused, unpriced, warned].map(({ status }) => status),
    [201, 201, 429, 422, 201],
  )

  const { parameters, responses } = contract.paths['/v1/reservations']!['post']!
  t.match(parameters, [{ in: 'header', name: 'idempotency-key', required: false }])
  const ours = ['idempotency-replayed', 'ratelimit', 'ratelimit-policy', 'retry-after', 'x-purser-enforcement']
  const come = (...answers: Answer[]) => ours.filter((name) => answers.some(({ headers }) => headers.has(name)))
  t.same(Object.keys(responses['201']!.headers ?? {}).sort(), come(granted, replayed, warned))
  t.same(Object.keys(responses['429']!.headers ?? {}).sort(), come(refused))

  const { Problem, QuotaExceeded } = contract.components.schemas
  t.same(Object.keys(refused.json).sort(), QuotaExceeded!.required.toSorted())
  t.same(Object.keys(refused.json.violations[0]), QuotaExceeded!.properties['violations']!.items.required)
  for (const name of Object.keys(unpriced.json)) t.ok(name in Problem!.properties, name)
})

t.test('an unknown problem is not found', async (t) => {
  for (const path of ['/problems/nothing', '/problems/__proto__', '/problems/to_string', '/problems/']) {
    t.match(await service.call('GET', path), { status: 404, json: { code: 'not_found' } })
  }
})

t.test('the type URL of a problem leads to its explanation', async (t) => {
  const hold = (body: object, headers: Record<string, string> = caller) =>
    service.call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: 'acme', ...body }, headers)
  const keyed = { ...caller, 'idempotency-key': 'one' }
  const held = await hold({ estimated_cost_usd: 0.01 }, keyed)
  const settle = (verb: string, body: object) =>
    service.call('POST', `/v1/reservations/${held.json.reservation_id}/${verb}`, body, caller)
  const committed = await settle('commit', { actual_cost_usd: 0.01 })
  const correct = () =>
    service.call('POST', `/v1/cost-records/${committed.json.cost_record_id}/correct`, { cost_usd: 0, reason: 'test' })
  await correct()
  const refusals = [
    await hold({}),
    await hold({ estimated_cost_usd: 1 }, { authorization: 'Bearer of a guess' }),
    await service.call('GET', '/v1/api-keys', undefined, caller),
    await service.call('GET', '/v1/nothing'),
    await service.call('DELETE', '/v1/quotas'),
    await settle('commit', { actual_cost_usd: 0.02 }),
    await correct(),
    await service.call('POST', '/v1/reservations', `"${'x'.repeat(1_048_577)}"`, caller),
    await service.call('GET', `/v1/reservations/${'x'.repeat(600)}`),
    await service.call('POST', '/v1/reservations', '{}', { ...caller, 'content-type': 'text/plain' }),
    await hold({ estimated_cost_usd: 0.02 }, keyed),
    await hold({ llm: { model: 'no-such-model', input_tokens: 1, max_output_tokens: 1 } }),
    await hold({ estimated_cost_usd: 1_000 }),
  ]
  t.same(
    refusals.map(({ json }) => json.code),
    [
      ...[
        'invalid_request',
        'unauthenticated',
        'forbidden',
        'not_found',
        'method_not_allowed',
        'reservation_committed',
        'record_corrected',
      ],
      ...['payload_too_large', 'uri_too_long', 'unsupported_media_type', 'idempotency_mismatch', 'price_not_found'],
      ...['quota_exceeded'],
    ],
  )
  for (const { status, json, headers } of refusals) {
    t.match(headers.get('content-type'), /^application\/problem\+json/)
    const help = await service.call('GET', json.type)
    t.match(help, { status: 200, json: { type: json.type, title: json.title, status } }, json.code)
  }
})
