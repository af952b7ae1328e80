// Every name that a span carries: names that the first system's dashboards use, and OpenTelemetry's names for generative AI
// (status Development, so they may change).

export type SpanName =
  | 'llm.quota.check'
  | 'llm.cost.calculate'
  | 'e2b.quota.check'
  | 'e2b.cost.estimate'
  | 'e2b.cost.calculate'

/** The attribute for each name that the service uses. A name that ends in Usd takes decimal text and exports a number. */
export const ATTRIBUTES = {
  provider: 'gen_ai.provider.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  // The whole prompt and the whole output, with cached and reasoning tokens.
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  tier: 'tier',
  region: 'region',
  tenantId: 'regintel.tenant.id',
  reservationId: 'regintel.reservation.id',
  replayed: 'regintel.replayed',
  /** The requested amount. Only a booked cost is `regintel.cost.usd`, so that a sum counts no money twice. */
  requestedUsd: 'regintel.requested.usd',
  costUsd: 'regintel.cost.usd',
  batchItems: 'regintel.batch.items',
} as const

/** Attributes without a value are left out. */
export type Attributes = { [Name in keyof typeof ATTRIBUTES]?: string | number | boolean | null | undefined }

export const ERROR_ATTRIBUTES = {
  stage: 'error.stage',
  type: 'error.type',
  recoverable: 'error.recoverable',
} as const

/** The value of error.stage for each span. */
export const STAGE_OF: Record<SpanName, 'quota_check' | 'calculate'> = {
  'llm.quota.check': 'quota_check',
  'llm.cost.calculate': 'calculate',
  'e2b.quota.check': 'quota_check',
  'e2b.cost.estimate': 'calculate',
  'e2b.cost.calculate': 'calculate',
}
