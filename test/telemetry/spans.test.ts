import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'
import { startService } from '../helpers/servers/service.ts'
import { startCollector, type Span } from './collector.ts'

const REQUESTS_AT_ONCE = 30

const model = { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 }

/** A caller with tracing. Sampled, so that no span is missing. */
function caller() {
  const traceId = randomBytes(16).toString('hex')
  const spanId = randomBytes(8).toString('hex')
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-01` } }
}

function only(spans: Span[], what: string, is: (span: Span) => boolean): Span {
  const found = spans.filter(is)
  if (found.length !== 1) {
    throw new Error(`${found.length} spans are ${what}:\n${spans.map(({ name }) => name).join('\n')}`)
  }
  return found[0]!
}

const named = (spans: Span[], name: string) => only(spans, name, (span) => span.name === name)
const serverOf = (spans: Span[]) => only(spans, 'of a server', ({ kind }) => kind === 'server')
const runs = (sqlFunction: string) => (span: Span) =>
  span.kind === 'client' && String(span.attributes['db.query.text']).includes(`copilot_internal.${sqlFunction}(`)

const database = await createDatabase(t)
const collector = await startCollector(t)
const exporting = (url: string) => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  OTEL_METRICS_EXPORTER: 'none',
  OTEL_BSP_SCHEDULE_DELAY: '50',
})

t.test('with an endpoint set', async (t) => {
  const service = await startService(t, database.url, exporting(collector.url))
  const post = async (path: string, body: unknown) => {
    const from = caller()
    const answer = await service.call('POST', path, body, from.headers)
    return { from, answer, spans: await collector.trace(from.traceId) }
  }

  t.test('a reservation is one trace: HTTP, route, decision, Postgres', async (t) => {
    const body = { resource_type: 'llm', tenant_id: 'acme', llm: model }
    const { from, answer, spans } = await post('/v1/reservations', body)
    t.equal(answer.status, 201)
    const server = serverOf(spans)
    const route = named(spans, 'request handler - reserve')
    const decision = named(spans, 'llm.quota.check')
    const postgres = only(spans, 'the statement', runs('reserve_spend'))
    t.match(server, { name: 'POST /v1/reservations', parentSpanId: from.spanId })
    t.equal(route.parentSpanId, server.spanId)
    t.equal(decision.parentSpanId, route.spanId)
    t.equal(postgres.parentSpanId, decision.spanId)
    t.same(decision.attributes, {
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-6.1-sol',
      'regintel.tenant.id': 'acme',
      'regintel.requested.usd': answer.json.reserved_usd,
      'regintel.reservation.id': answer.json.reservation_id,
      'regintel.batch.items': 1,
    })
    t.notOk(decision.failed)
    t.match(collector.resource, { 'service.name': 'purser', 'service.version': '0.1.0' })
  })

  t.test('the traces of a commit and a release include Postgres too', async (t) => {
    const reserve = (key: string) => post('/v1/reservations', { resource_type: 'llm', tenant_id: key, llm: model })
    const committed = (await reserve('committing')).answer.json.reservation_id
    const commit = await post(`/v1/reservations/${committed}/commit`, {
      usage: { input_tokens: 12_000, cache_read_tokens: 4_000, output_tokens: 500 },
    })
    t.equal(commit.answer.status, 200)
    const booking = named(commit.spans, 'llm.cost.calculate')
    t.equal(only(commit.spans, 'the statement', runs('commit_spend')).parentSpanId, booking.spanId)
    t.equal(booking.parentSpanId, named(commit.spans, 'request handler - commit').spanId)
    t.match(booking.attributes, {
      'gen_ai.request.model': 'gpt-6.1-sol',
      'gen_ai.usage.input_tokens': 12_000,
      'gen_ai.usage.output_tokens': 500,
      'regintel.cost.usd': commit.answer.json.cost_usd,
      'regintel.reservation.id': committed,
    })

    const released = (await reserve('releasing')).answer.json.reservation_id
    const release = await post(`/v1/reservations/${released}/release`, {})
    t.equal(release.answer.status, 200)
    const route = named(release.spans, 'request handler - release')
    t.equal(only(release.spans, 'the statement', runs('release_spend')).parentSpanId, route.spanId)
  })

  t.test('the spans of a sandbox estimate, check and commit have their own names', async (t) => {
    const body = { resource_type: 'e2b', tenant_id: 'acme', e2b: { max_seconds: 60 } }
    const { answer, spans } = await post('/v1/reservations', body)
    t.equal(answer.status, 201)
    t.match(named(spans, 'e2b.cost.estimate').attributes, { tier: 'standard', region: 'us-east-1' })
    const decision = named(spans, 'e2b.quota.check')
    t.equal(only(spans, 'the statement', runs('reserve_spend')).parentSpanId, decision.spanId)
    const path = `/v1/reservations/${answer.json.reservation_id}/commit`
    const commit = await post(path, { actual_cost_usd: 0.001 })
    t.match(named(commit.spans, 'e2b.cost.calculate').attributes, { 'regintel.cost.usd': 0.001, tier: 'standard' })
  })

  t.test('the span of a refused or invalid request has its stage and error type', async (t) => {
    const refusal = await post('/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'acme',
      estimated_cost_usd: 1_000,
    })
    t.equal(refusal.answer.status, 429)
    t.match(named(refusal.spans, 'llm.quota.check'), {
      failed: true,
      attributes: { 'error.stage': 'quota_check', 'error.type': 'quota_exceeded', 'error.recoverable': false },
    })
    const unknown = await post('/v1/reservations/01900000-0000-7000-8000-000000000000/commit', { actual_cost_usd: 1 })
    t.equal(unknown.answer.status, 404)
    t.match(named(unknown.spans, 'llm.cost.calculate'), {
      failed: true,
      attributes: { 'error.stage': 'calculate', 'error.type': 'validation', 'error.recoverable': false },
    })
  })

  t.test('concurrent requests keep separate traces, and each leads to the statement that decided it', async (t) => {
    const all = await Promise.all(
      Array.from({ length: REQUESTS_AT_ONCE }, async (_, n) => {
        const tenant = `at-once-${n}`
        const body = { resource_type: 'llm', tenant_id: tenant, estimated_cost_usd: 0.01 }
        return { tenant, ...(await post('/v1/reservations', body)) }
      }),
    )
    const decided = new Set(collector.spans.filter(runs('reserve_spend')).map(({ parentSpanId }) => parentSpanId))
    for (const { tenant, from, answer, spans } of all) {
      t.equal(answer.status, 201)
      const server = serverOf(spans)
      const route = named(spans, 'request handler - reserve')
      const decision = named(spans, 'llm.quota.check')
      t.same(
        [server.parentSpanId, route.parentSpanId, decision.parentSpanId],
        [from.spanId, server.spanId, route.spanId],
      )
      t.equal(decision.attributes['regintel.tenant.id'], tenant)
      const statements = spans.filter(runs('reserve_spend'))
      if (statements.length === 0)
        t.ok(decided.has(decision.links[0] ?? ''), 'the span is linked to the first of its batch')
      else t.same([statements.length, statements[0]!.parentSpanId], [1, decision.spanId])
    }
  })

  t.test('work outside of requests makes no trace', async (t) => {
    await service.call('GET', '/healthz', undefined, caller().headers)
    const short = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: 0.01, ttl_seconds: 1 }
    const { answer } = await post('/v1/reservations', short)
    await swept(answer.json.reservation_id)
    await post('/v1/reservations', { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: 0.01 })
    const roots = collector.spans.filter(({ parentSpanId }) => parentSpanId === '')
    t.same(roots, [], 'neither the sweeper nor the start makes a trace')
    t.notOk(collector.spans.some(({ attributes }) => attributes['url.path'] === '/healthz'))
  })
})

/** Waits until the sweeper has run. */
async function swept(reservationId: string): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query<{ status: string }>(
      'select status from copilot_internal.reservations, pg_sleep(0.05) where reservation_id = $1',
      [reservationId],
    )
    if (rows[0]?.status === 'expired') return
  }
}

t.test('unsent spans are sent when the service stops', async (t) => {
  const late = { ...exporting(collector.url), OTEL_BSP_SCHEDULE_DELAY: '600000' }
  const service = await startService(t, database.url, late)
  const from = caller()
  await service.call('GET', '/v1/quotas', undefined, from.headers)
  t.equal(await service.stop(), 0)
  t.equal(collector.spans.filter(({ traceId, kind }) => traceId === from.traceId && kind === 'server').length, 1)
})

t.test('a collector that never answers does not delay the service’s stop', async (t) => {
  const deaf = createServer(() => {}).listen(0, '127.0.0.1')
  await once(deaf, 'listening')
  t.teardown(() => {
    deaf.close()
    deaf.closeAllConnections()
  })
  const { port } = deaf.address() as AddressInfo
  // The exporter's own timeout is longer than the service may take to stop.
  const patient = { OTEL_BSP_EXPORT_TIMEOUT: '60000', OTEL_EXPORTER_OTLP_TIMEOUT: '60000' }
  const service = await startService(t, database.url, { ...exporting(`http://127.0.0.1:${port}`), ...patient })
  const asked = once(deaf, 'request')
  await service.call('GET', '/v1/quotas', undefined, caller().headers)
  await asked
  t.equal(await service.stop(), 0)
})

/** Writes the URL of every loaded module, by import or require, into a file. */
const probe = (file: string) =>
  `data:text/javascript,${encodeURIComponent(`
    import { appendFileSync } from 'node:fs'
    import { registerHooks } from 'node:module'
    registerHooks({
      load(url, context, next) {
        appendFileSync(${JSON.stringify(file)}, url + '\\n')
        return next(url, context)
      },
    })`)}`

const settings: [name: string, environment: Record<string, string>, loads: boolean][] = [
  ['an endpoint', exporting(collector.url), true],
  ['nothing', {}, false],
  ['a name and an empty endpoint', { OTEL_SERVICE_NAME: 'other', OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false],
  ['both exporters none', { ...exporting(collector.url), OTEL_TRACES_EXPORTER: 'none' }, false],
  ['the SDK disabled', { ...exporting(collector.url), OTEL_SDK_DISABLED: 'true' }, false],
]
for (const [name, environment, loads] of settings) {
  t.test(`${loads ? 'OpenTelemetry' : 'nothing of OpenTelemetry'} is loaded with ${name} set`, async (t) => {
    const file = join(makeDataDir(t), 'loaded')
    const exportsBefore = collector.exports
    const service = await startService(t, database.url, { ...environment, NODE_OPTIONS: `--import=${probe(file)}` })
    const body = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: 0.01 }
    t.equal((await service.call('POST', '/v1/reservations', body)).status, 201)
    t.equal(await service.stop(), 0)
    const loaded = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
    t.ok(
      loaded.some((url) => url.includes('/node_modules/fastify/')),
      'the probe of loaded modules works',
    )
    t.equal(
      loaded.some((url) => url.includes('/@opentelemetry/')),
      loads,
    )
    t.equal(collector.exports > exportsBefore, loads)
  })
}
