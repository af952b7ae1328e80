import Fastify, { type FastifyBaseLogger } from 'fastify'
import { randomUUID } from 'node:crypto'
import { apiKeyRoutes } from './http/routes/api-keys.ts'
import { costRecordRoutes } from './http/routes/cost-records.ts'
import { auditLogRoutes } from './http/routes/audit-log.ts'
import { costRoutes } from './http/routes/costs.ts'
import { eventRoutes } from './http/routes/events.ts'
import { estimateRoutes } from './http/routes/estimates.ts'
import { integrityRoutes } from './http/routes/integrity.ts'
import { operationRoutes } from './http/routes/operations.ts'
import { quotaDefaultRoutes } from './http/routes/quota-defaults.ts'
import { pricingRoutes } from './http/routes/pricing.ts'
import { quotaRoutes } from './http/routes/quotas.ts'
import { reservationRoutes } from './http/routes/reservations.ts'
import { webhookEndpointRoutes } from './http/routes/webhook-endpoints.ts'
import type { App } from './http/app-type.ts'
import { registerAuth } from './http/plugins/auth.ts'
import { registerDeadline } from './http/plugins/deadline.ts'
import { registerDrain } from './http/plugins/drain.ts'
import { BODY_BYTES_MAX, registerJson } from './http/plugins/json.ts'
import { registerOpenApi } from './http/plugins/openapi.ts'
import { registerOptionalBody } from './http/plugins/optional-body.ts'
import { answerClientError, answerError, registerProblems } from './http/plugins/problems.ts'
import { registerRateLimit, type Limits } from './http/plugins/rate-limit.ts'
import { registerRequestContext, requestIdOf } from './http/plugins/request-context.ts'
import { registerValidation } from './http/plugins/validation.ts'
import { RequestLines } from './http/request-lines.ts'
import type { Deps } from './services/deps.ts'

export type AppOptions = {
  deps: Deps
  limits: Limits
  allowEmailIds: boolean
  /** Addresses of the proxies whose x-forwarded-for header is trusted. */
  trustedProxies?: string | undefined
  version: string
  logger: FastifyBaseLogger | false
}

const PARAM_CHARACTERS_MAX = 500
/** Longest time for a request's headers to arrive. After it, Node closes the connection. */
const HEADERS_MS_MAX = 10_000
/** Longest time for the whole request to arrive, its body included. */
const REQUEST_MS_MAX = 30_000
/** How often Node checks connections for the two limits above. */
const CHECK_MS = 1_000
/** Longest time without traffic on a connection. A client that does not read its answer causes such a pause. */
const IDLE_MS_MAX = 60_000

/** Builds the HTTP service, ready to listen. */
export async function buildApp(options: AppOptions): Promise<App> {
  const { deps } = options
  const app: App = Fastify({
    ...(options.logger === false ? { logger: false } : { loggerInstance: options.logger }),
    logController: new RequestLines(),
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    connectionTimeout: IDLE_MS_MAX,
    http: {
      headersTimeout: HEADERS_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      connectionsCheckingInterval: CHECK_MS,
      // plugins/request-context.ts refuses a request without a Host header: Node's own refusal has no body and no request id.
      requireHostHeader: false,
    },
    trustProxy: options.trustedProxies ?? false,
    genReqId: (request) => requestIdOf(request.headers['x-request-id']) ?? randomUUID(),
    requestIdHeader: false,
    frameworkErrors: answerError,
    clientErrorHandler: answerClientError,
    routerOptions: { maxParamLength: PARAM_CHARACTERS_MAX },
    // plugins/drain.ts refuses new requests during shutdown.
    return503OnClosing: false,
  })

  registerRequestContext(app)
  registerDrain(app)
  registerJson(app)
  registerValidation(app, options)
  registerProblems(app)
  registerDeadline(app)
  registerAuth(app, deps)
  await registerRateLimit(app, options.limits, deps.counters)
  await registerOpenApi(app, options.version, registerOptionalBody(app))

  reservationRoutes(app, deps)
  estimateRoutes(app, deps)
  costRecordRoutes(app, deps)
  costRoutes(app, deps)
  eventRoutes(app, deps)
  webhookEndpointRoutes(app, deps)
  quotaRoutes(app, deps)
  quotaDefaultRoutes(app, deps)
  pricingRoutes(app, deps)
  apiKeyRoutes(app, deps)
  integrityRoutes(app, deps)
  auditLogRoutes(app, deps)
  operationRoutes(app, deps)

  return app
}
