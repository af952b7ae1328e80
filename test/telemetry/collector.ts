import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

export interface Span {
  name: string
  traceId: string
  spanId: string
  /** '' at the root. */
  parentSpanId: string
  kind: 'internal' | 'server' | 'client' | 'other'
  scope: string
  attributes: Record<string, string | number | boolean>
  links: string[]
  failed: boolean
}

export interface Collector {
  url: string
  /** The received spans, in the order in which they ended. */
  spans: Span[]
  /** The resource attributes of the sender. */
  resource: Record<string, unknown>
  /** The number of requests of any kind. Each is one export. */
  exports: number
  /** Waits for the root span of the trace, which ends last, and returns the whole trace. */
  trace(traceId: string): Promise<Span[]>
}

interface Value {
  stringValue?: string
  intValue?: string | number
  doubleValue?: number
  boolValue?: boolean
}
interface Attribute {
  key: string
  value: Value
}
interface SentSpan {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
  kind: number
  attributes?: Attribute[]
  links?: { spanId: string }[]
  status?: { code?: number }
}
interface Sent {
  resourceSpans?: {
    resource: { attributes: Attribute[] }
    scopeSpans: { scope: { name: string }; spans: SentSpan[] }[]
  }[]
}

const KINDS: Record<number, Span['kind']> = { 1: 'internal', 2: 'server', 3: 'client' }
const STATUS_ERROR = 2

/** An OTLP endpoint over HTTP and JSON, closed when `t` is done. */
export async function startCollector(t: Test): Promise<Collector> {
  const arrived = new Set<() => void>()
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      collector.exports++
      if (request.url === '/v1/traces') take(JSON.parse(body) as Sent)
      response.setHeader('content-type', 'application/json').end('{}')
      for (const look of arrived) look()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })

  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: [],
    resource: {},
    exports: 0,
    trace: (traceId) =>
      new Promise((resolve) => {
        const look = () => {
          const all = collector.spans.filter((span) => span.traceId === traceId)
          if (!all.some(({ kind }) => kind === 'server')) return
          arrived.delete(look)
          resolve(all)
        }
        arrived.add(look)
        look()
      }),
  }

  function take({ resourceSpans = [] }: Sent): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      collector.resource = plain(resource.attributes)
      for (const { scope, spans } of scopeSpans) {
        collector.spans.push(...spans.map((span) => read(scope.name, span)))
      }
    }
  }
  return collector
}

function read(scope: string, sent: SentSpan): Span {
  return {
    name: sent.name,
    traceId: sent.traceId,
    spanId: sent.spanId,
    parentSpanId: sent.parentSpanId ?? '',
    kind: KINDS[sent.kind] ?? 'other',
    scope,
    attributes: plain(sent.attributes ?? []),
    links: (sent.links ?? []).map(({ spanId }) => spanId),
    failed: sent.status?.code === STATUS_ERROR,
  }
}

function plain(attributes: Attribute[]): Span['attributes'] {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.doubleValue ?? value.boolValue ?? Number(value.intValue),
    ]),
  )
}
