// Loaded before the service: node --import ./src/telemetry/start.ts src/server.ts
// Where the standard OTEL_* variables name no exporter, nothing of OpenTelemetry is loaded.
import type { Span } from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { readFileSync } from 'node:fs'
import { register } from 'node:module'
import { useTracing } from './spans.ts'
import { stopWith } from './stop.ts'

type Signal = 'TRACES' | 'METRICS'

/** Asked for every few seconds by whoever watches over the service; their traces would tell nothing. */
const PROBES = /^\/(?:healthz|readyz|metrics)(?:\?|$)/

/** The modules that are instrumented; all others stay as they are. */
const INSTRUMENTED = ['http', 'https', 'fastify', 'pg', 'pg-pool']

const { env } = process
if (!/^true$/i.test(env['OTEL_SDK_DISABLED'] ?? '') && (isWanted('TRACES') || isWanted('METRICS'))) await start()

/** A signal is exported where its exporter is named, or where an endpoint is and the exporter is not `none`. */
function isWanted(signal: Signal): boolean {
  const exporter = env[`OTEL_${signal}_EXPORTER`]
  if (exporter) return exporter !== 'none'
  return Boolean(env['OTEL_EXPORTER_OTLP_ENDPOINT'] || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`])
}

async function start(): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const [api, { NodeSDK }, { HttpInstrumentation }, fastify, { PgInstrumentation }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/instrumentation-http'),
    import('@opentelemetry/instrumentation-fastify'),
    import('@opentelemetry/instrumentation-pg'),
  ])
  // Without it the instrumentation does not see what is imported, and the spans are missing in silence.
  // oxlint-disable-next-line typescript/no-deprecated -- OpenTelemetry's hook is made for this way in, not for registerHooks()
  register('@opentelemetry/instrumentation/hook.mjs', import.meta.url, { data: { include: INSTRUMENTED } })

  setDefaults(version)
  const sdk = new NodeSDK({
    ...(isWanted('TRACES') ? {} : { spanProcessors: [] }),
    ...(isWanted('METRICS') ? {} : { metricReaders: [] }),
    // The log goes to standard output only.
    logRecordProcessors: [],
    instrumentations: [
      new HttpInstrumentation({ ignoreIncomingRequestHook: ({ url }: IncomingMessage) => PROBES.test(url ?? '') }),
      // oxlint-disable-next-line typescript/no-deprecated -- deprecated in favour of a plugin, which the app would have to name
      new fastify.FastifyInstrumentation({ requestHook: nameRoute }),
      // Statements of nobody's request, as those of the sweeper each second, make no traces.
      new PgInstrumentation({ requireParentSpan: true, ignoreConnectSpans: true }),
    ],
  })
  sdk.start()
  stopWith(() => sdk.shutdown())
  if (isWanted('TRACES')) useTracing(api, version)
}

/** The handlers have no names of their own; their operations have. */
function nameRoute(span: Span, { request }: { request: FastifyRequest }): void {
  const { schema, url } = request.routeOptions
  span.updateName(`request handler - ${schema?.operationId ?? url ?? 'none'}`)
}

/** What the environment does not say. */
function setDefaults(version: string): void {
  // Names that come later win, and OTEL_SERVICE_NAME wins over all of them.
  env['OTEL_RESOURCE_ATTRIBUTES'] = [
    'service.name=purser',
    `service.version=${version}`,
    env['OTEL_RESOURCE_ATTRIBUTES'],
  ]
    .filter(Boolean)
    .join(',')
  // A collector that cannot be reached shows on standard error.
  env['OTEL_LOG_LEVEL'] ||= 'error'
}
