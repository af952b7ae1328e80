// All names that leave with spans, in this one place: those that dashboards of the first system know, and OpenTelemetry's
// for generative AI (status Development, so they may change).

export type SpanName =
  | 'llm.quota.check'
  | 'llm.cost.calculate'
  | 'e2b.quota.check'
  | 'e2b.cost.estimate'
  | 'e2b.cost.calculate'

/** Attributes by what the service calls them; those that end in Usd are given as decimal text and leave as numbers. */
export const ATTRIBUTES = {
  provider: 'gen_ai.provider.name',
  requestModel: 'gen_ai.request.model',
  responseModel: 'gen_ai.response.model',
  // The whole prompt and all that was generated: cached and reasoning tokens are parts of them.
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  tier: 'tier',
  region: 'region',
  tenantId: 'regintel.tenant.id',
  reservationId: 'regintel.reservation.id',
  replayed: 'regintel.replayed',
  /** What was asked for; only a cost that was booked is `regintel.cost.usd`, so that sums count no money twice. */
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

/** What a span's error.stage says. */
export const STAGE_OF: Record<SpanName, 'quota_check' | 'calculate'> = {
  'llm.quota.check': 'quota_check',
  'llm.cost.calculate': 'calculate',
  'e2b.quota.check': 'quota_check',
  'e2b.cost.estimate': 'calculate',
  'e2b.cost.calculate': 'calculate',
}
