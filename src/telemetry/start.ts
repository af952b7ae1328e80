// Loaded before the service: node --import ./src/telemetry/start.ts src/server.ts
// Without an exporter in the standard OTEL_* variables, nothing of OpenTelemetry is loaded.
import type { Span } from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { readFileSync } from 'node:fs'
import { register } from 'node:module'
import { useTracing } from './spans.ts'
import { stopWith } from './stop.ts'

type Signal = 'TRACES' | 'METRICS'

/** Monitoring requests these every few seconds. Traces of them are of no use. */
const PROBES = /^\/(?:healthz|readyz|metrics)(?:\?|$)/

/** The modules to instrument. All others are left alone. */
const INSTRUMENTED = ['http', 'https', 'fastify', 'pg', 'pg-pool']

const { env } = process
if (!/^true$/i.test(env['OTEL_SDK_DISABLED'] ?? '') && (isWanted('TRACES') || isWanted('METRICS'))) await start()

/** A signal is exported when its exporter is set, to anything but `none`, or when only an endpoint is set. */
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
  // Without this hook the instrumentation does not see imports, and spans are missing without an error.
  // oxlint-disable-next-line typescript/no-deprecated -- OpenTelemetry's hook works with register(), not with registerHooks()
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
      // Statements outside a request, such as the sweeper's every second, make no traces.
      new PgInstrumentation({ requireParentSpan: true, ignoreConnectSpans: true }),
    ],
  })
  sdk.start()
  stopWith(() => sdk.shutdown())
  if (isWanted('TRACES')) useTracing(api, version)
}

/** Names a handler's span by its operation: the handlers are anonymous functions. */
function nameRoute(span: Span, { request }: { request: FastifyRequest }): void {
  const { schema, url } = request.routeOptions
  span.updateName(`request handler - ${schema?.operationId ?? url ?? 'none'}`)
}

/** Fills in what the environment leaves out. */
function setDefaults(version: string): void {
  // A later entry wins over an earlier one, and OTEL_SERVICE_NAME over both.
  env['OTEL_RESOURCE_ATTRIBUTES'] = [
    'service.name=purser',
    `service.version=${version}`,
    env['OTEL_RESOURCE_ATTRIBUTES'],
  ]
    .filter(Boolean)
    .join(',')
  // Reports a collector that cannot be reached, on standard error.
  env['OTEL_LOG_LEVEL'] ||= 'error'
}
