import { Type, type Static } from 'typebox'
import {
  Attribution,
  Closed,
  Cursor,
  Id,
  Labels,
  Limit,
  Nullable,
  Period,
  ProblemSchema,
  ResourceType,
  Scope,
  Time,
  TimeInput,
  Usd,
  UsdInput,
  Uuid,
} from './common.ts'
import { withLabels } from './costs.ts'
import { QuotaBalance } from './quotas.ts'
import { Count, E2bRequest, LlmRequest, MaxSeconds, ProviderUsage, TokenUsage, UsageWarning } from './usage.ts'

export const ReservationStatus = Type.Union([
  Type.Literal('reserved'),
  Type.Literal('committed'),
  Type.Literal('released'),
  Type.Literal('expired'),
])

const TtlSeconds = Type.Integer({ minimum: 1, maximum: 90_000 })

export const ReserveBody = Type.Object(
  {
    resource_type: ResourceType,
    ...Attribution,
    ttl_seconds: Type.Optional(TtlSeconds),
    on_expiry: Type.Optional(Type.Union([Type.Literal('release'), Type.Literal('charge')])),
    allow_caps: Type.Optional(Type.Boolean()),
    llm: Type.Optional(LlmRequest),
    e2b: Type.Optional(E2bRequest),
    estimated_cost_usd: Type.Optional(UsdInput),
  },
  Closed,
)
export type ReserveBody = Static<typeof ReserveBody>

/** The key itself is read by its own rules: quoted or bare. */
export const IdempotencyHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({ description: 'Quoted or bare, 1 to 255 printable characters; keys live 7 days at least' }),
  ),
})

const Caps = Nullable(
  Type.Object({ max_output_tokens: Type.Optional(Type.Integer()), max_runtime_seconds: Type.Optional(Type.Integer()) }),
)
/** A quota that let something pass, or what a usage or a tier was not priced for. */
export const Warning = Type.Object({
  ...UsageWarning.properties,
  code: Type.Union([Type.Literal('quota_exceeded'), ...UsageWarning.properties.code.anyOf]),
  quota_id: Type.Optional(Type.Integer()),
})

export const ReserveAnswer = Type.Object({
  reservation_id: Uuid,
  status: ReservationStatus,
  resource_type: ResourceType,
  tenant_id: Type.String(),
  reserved_usd: Usd,
  price_id: Nullable(Type.Integer()),
  created_at: Time,
  expires_at: Time,
  caps: Caps,
  quotas: Type.Array(QuotaBalance),
  warnings: Type.Array(Warning),
})

export const Reservation = Type.Object({
  reservation_id: Uuid,
  status: ReservationStatus,
  resource_type: ResourceType,
  tenant_id: Type.String(),
  user_id: Nullable(Type.String()),
  conversation_id: Nullable(Type.String()),
  path_id: Nullable(Type.String()),
  labels: Labels,
  provider: Nullable(Type.String()),
  model: Nullable(Type.String()),
  tier: Nullable(Type.String()),
  reserved_usd: Usd,
  price_id: Nullable(Type.Integer()),
  caps: Caps,
  on_expiry: Type.String(),
  created_at: Time,
  expires_at: Time,
  settled_at: Nullable(Time),
  cost_usd: Nullable(Usd),
  cost_record_ids: Type.Array(Uuid),
})

export const ReservationsQuery = Type.Object(
  {
    status: Type.Optional(ReservationStatus),
    resource_type: Type.Optional(ResourceType),
    tenant_id: Type.Optional(Id),
    user_id: Type.Optional(Id),
    conversation_id: Type.Optional(Id),
    path_id: Type.Optional(Id),
    provider: Type.Optional(Id),
    model: Type.Optional(Id),
    tier: Type.Optional(Id),
    from: Type.Optional(TimeInput),
    to: Type.Optional(TimeInput),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Cursor),
  },
  withLabels,
)
export type ReservationQuery = Omit<Static<typeof ReservationsQuery>, 'limit' | 'cursor'>

const Violation = Type.Omit(QuotaBalance, ['enforcement'])

const { errors: _errors, provider: _provider, model: _model, near: _near, ...problem } = ProblemSchema.properties

const LargestAllowed = Type.Union([Type.Number(), Type.Null()], {
  description:
    'USD, exact decimal: the least room over the enforced quotas, not below 0 (0: nothing that costs passes). ' +
    'Null where none is enforced, and where a quota whose amounts this key may not see has less.',
})

/** A refusal by quota: the violated quota that resets last, and all of them. Amounts are null where the caller may not see them. */
export const QuotaExceededSchema = Type.Object(
  {
    ...problem,
    error: Type.Literal('quota_exceeded'),
    resource_type: ResourceType,
    scope: Scope,
    scope_id: Type.String(),
    period: Period,
    current_spend_usd: Nullable(Usd),
    reserved_usd: Nullable(Usd),
    limit_usd: Nullable(Usd),
    overage_usd: Nullable(Usd),
    period_starts_at: Time,
    period_ends_at: Time,
    reset_at: Time,
    requested_usd: Usd,
    largest_allowed_usd: LargestAllowed,
    violations: Type.Array(Violation),
  },
  { $id: 'QuotaExceeded', additionalProperties: true },
)

const NotMadeYet = {
  quota_id: Nullable(Type.Integer({ description: 'Null for a default quota that is not made yet' })),
}
const CheckedBalance = Type.Object({ ...QuotaBalance.properties, ...NotMadeYet })

export const CheckAnswer = Type.Object({
  allowed: Type.Boolean(),
  requested_usd: Usd,
  largest_allowed_usd: LargestAllowed,
  price_id: Nullable(Type.Integer()),
  caps: Caps,
  quotas: Type.Array(CheckedBalance),
  warnings: Type.Array(Type.Object({ ...Warning.properties, quota_id: Type.Optional(NotMadeYet.quota_id) })),
  violations: Type.Array(Type.Omit(CheckedBalance, ['enforcement'])),
})

export const ExtendBody = Type.Object(
  {
    ttl_seconds: Type.Optional(TtlSeconds),
    estimate: Type.Optional(
      Type.Object(
        {
          max_output_tokens: Type.Optional(Count),
          max_seconds: Type.Optional(MaxSeconds),
          estimated_cost_usd: Type.Optional(UsdInput),
        },
        { ...Closed, description: 'The new total, by what the reservation was estimated by' },
      ),
    ),
  },
  Closed,
)
export type ExtendBody = Static<typeof ExtendBody>

export const ExtendAnswer = Type.Object({
  ...Reservation.properties,
  quotas: Type.Array(QuotaBalance),
  warnings: Type.Array(Warning),
})

const Text = Type.String({ maxLength: 200, format: 'label' })
const Measure = Type.Number({ minimum: 0, maximum: 1e12 })

/** What a commit may tell about the call; stored, never changing the cost. */
const Call = Type.Object(
  {
    started_at: Type.Optional(TimeInput),
    ended_at: Type.Optional(TimeInput),
    outcome: Type.Optional(Text),
    streaming: Type.Optional(Type.Boolean()),
    cached: Type.Optional(Type.Boolean()),
    retries: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    error: Type.Optional(
      Nullable(
        Type.Object(
          { stage: Type.Optional(Text), type: Type.Optional(Text), recoverable: Type.Optional(Type.Boolean()) },
          Closed,
        ),
      ),
    ),
  },
  Closed,
)

export const CommitBody = Type.Object(
  {
    usage: Type.Optional(TokenUsage),
    provider_usage: Type.Optional(ProviderUsage),
    actual_cost_usd: Type.Optional(UsdInput),
    usage_unknown: Type.Optional(
      Type.Literal(true, { description: 'Book the reserved amount, marked estimated, to be corrected later' }),
    ),
    provider: Type.Optional(Id),
    model: Type.Optional(Id),
    sandbox_id: Type.Optional(Nullable(Id)),
    call: Type.Optional(Call),
    execution: Type.Optional(
      Type.Object(
        {
          language: Type.Optional(Text),
          duration_ms: Type.Optional(Measure),
          exit_code: Type.Optional(Type.Integer({ minimum: -2_147_483_648, maximum: 2_147_483_647 })),
        },
        Closed,
      ),
    ),
    resources: Type.Optional(
      Type.Object(
        {
          cpu_core_seconds: Type.Optional(Measure),
          memory_gb_seconds: Type.Optional(Measure),
          disk_io_gb: Type.Optional(Measure),
          network_io_gb: Type.Optional(Measure),
        },
        Closed,
      ),
    ),
  },
  Closed,
)
export type CommitBody = Static<typeof CommitBody>

export const CommitAnswer = Type.Object({
  reservation_id: Uuid,
  status: Type.Literal('committed'),
  cost_usd: Usd,
  reserved_usd: Usd,
  released_usd: Usd,
  overrun_usd: Usd,
  late: Type.Boolean(),
  estimated: Type.Boolean(),
  cost_record_id: Uuid,
  price_id: Nullable(Type.Integer()),
  quotas: Type.Array(QuotaBalance),
  warnings: Type.Array(Warning),
})

export const ReleaseBody = Type.Object(
  { reason: Type.Optional(Type.String({ minLength: 1, maxLength: 200, format: 'label' })) },
  Closed,
)
export type ReleaseBody = Static<typeof ReleaseBody>

export const ReleaseAnswer = Type.Object({
  reservation_id: Uuid,
  status: ReservationStatus,
  released_usd: Usd,
  reason: Nullable(Type.String()),
})

export const ReservationParams = Type.Object({ id: Uuid })
