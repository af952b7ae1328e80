import { Type, type Static } from 'typebox'
import {
  about,
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

export const ReservationStatus = Type.Union(
  [Type.Literal('reserved'), Type.Literal('committed'), Type.Literal('released'), Type.Literal('expired')],
  {
    title: 'ReservationStatus',
    description:
      '`reserved`: the amount is held. `committed`: the real cost is booked. `released`: the hold was given back. ' +
      '`expired`: nobody settled it before expires_at.',
  },
)

const OnExpiry = Type.Union([Type.Literal('release'), Type.Literal('charge')], {
  title: 'OnExpiry',
  description:
    'What happens at expires_at if the reservation is still open. `release`: the hold is given back (default for `llm`). ' +
    '`charge`: the reserved amount is booked as an estimated cost (default for `e2b`).',
})

const TtlSeconds = Type.Integer({ minimum: 1, maximum: 90_000 })

export const ReserveBody = Type.Object(
  {
    resource_type: ResourceType,
    ...Attribution,
    ttl_seconds: Type.Optional(
      about(
        TtlSeconds,
        'How long the hold lasts if nobody settles or extends it. Default: 120 for `llm`; for `e2b` the seconds that were granted, plus 60.',
      ),
    ),
    on_expiry: Type.Optional(OnExpiry),
    allow_caps: Type.Optional(
      Type.Boolean({
        description:
          'True: if the estimate does not fit, hold the largest amount that does, and answer `caps`. Not with estimated_cost_usd.',
      }),
    ),
    llm: Type.Optional(LlmRequest),
    e2b: Type.Optional(E2bRequest),
    estimated_cost_usd: Type.Optional(about(UsdInput, 'Your own estimate, in place of `llm` or `e2b`.')),
  },
  {
    ...Closed,
    title: 'ReserveBody',
    description: 'What to hold money for. Give one of `llm`, `e2b` and estimated_cost_usd.',
  },
)
export type ReserveBody = Static<typeof ReserveBody>

/** The key itself is read by its own rules: quoted or bare. */
export const IdempotencyHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        'Makes it safe to send the request again: the first answer is repeated. 1 to 255 printable characters, with or without quotes. A key is kept for at least 7 days.',
    }),
  ),
})

const Caps = Nullable(
  Type.Object(
    {
      max_output_tokens: Type.Optional(Type.Integer()),
      max_runtime_seconds: Type.Optional(Type.Integer()),
    },
    {
      title: 'Caps',
      description: 'What the call or the sandbox must keep to, because less was held than was asked for. Null: no cap.',
    },
  ),
)
/** A quota that let something pass, or a usage or a service tier that was not priced exactly. */
export const Warning = Type.Object(
  {
    ...UsageWarning.properties,
    code: Type.Union([Type.Literal('quota_exceeded'), ...UsageWarning.properties.code.anyOf]),
    quota_id: Type.Optional(Type.Integer({ description: 'Only of `quota_exceeded`.' })),
  },
  {
    title: 'Warning',
    description:
      'A quota that only warns is exceeded (`quota_exceeded`), or the usage may have been read or priced inexactly.',
  },
)

const PriceId = Nullable(Type.Integer({ description: 'The version of the price. Null: no price was needed.' }))

export const ReserveAnswer = Type.Object(
  {
    reservation_id: Uuid,
    status: about(
      ReservationStatus,
      'Start work only if it is `reserved`: a repeated request shows the status as it is now.',
    ),
    resource_type: ResourceType,
    tenant_id: Type.String(),
    reserved_usd: about(Usd, 'What is held. Less than the estimate if there are caps.'),
    price_id: PriceId,
    created_at: Time,
    expires_at: about(Time, 'Settle or extend the reservation before this time.'),
    caps: Caps,
    quotas: Type.Array(QuotaBalance, { description: 'Every quota that applies, with this hold counted.' }),
    warnings: Type.Array(Warning),
  },
  { title: 'ReserveAnswer' },
)

export const Reservation = Type.Object(
  {
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
    tier: Nullable(Type.String({ description: 'The size of the sandbox. Null for a call of a model.' })),
    reserved_usd: Usd,
    price_id: PriceId,
    caps: Caps,
    on_expiry: about(Type.String(), '`release` or `charge`.'),
    created_at: Time,
    expires_at: Time,
    settled_at: Nullable(about(Time, 'When it was committed, released or expired. Null while it is open.')),
    cost_usd: Nullable(about(Usd, 'What was booked for it. Null while nothing was.')),
    cost_record_ids: Type.Array(Uuid, { description: 'The cost records of it, corrections included.' }),
  },
  { title: 'Reservation' },
)

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
    from: Type.Optional(about(TimeInput, 'Reservations created at this time or later.')),
    to: Type.Optional(about(TimeInput, 'Reservations created before this time.')),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Cursor),
  },
  withLabels,
)
export type ReservationQuery = Omit<Static<typeof ReservationsQuery>, 'limit' | 'cursor'>

const Violation = Type.Omit(QuotaBalance, ['enforcement'], {
  title: 'QuotaViolation',
  description: 'A quota that does not allow the amount, as it stood when the request was refused.',
})

const { errors: _errors, provider: _provider, model: _model, near: _near, ...problem } = ProblemSchema.properties

const LargestAllowed = Type.Union([Usd, Type.Null()], {
  description:
    'The largest amount in USD that would pass now: the least that any enforced quota has left, and never below 0. ' +
    'Null if no quota is enforced, or if the tightest quota is one whose amounts this key may not see.',
})

/** A refusal by quota: the violated quota that resets last, and all of them. Amounts are null where the caller may not see them. */
export const QuotaExceededSchema = Type.Object(
  {
    ...problem,
    error: Type.Literal('quota_exceeded'),
    resource_type: ResourceType,
    scope: Scope,
    scope_id: Type.String({ description: 'The tenant or the user whose quota it is, or `platform`.' }),
    period: Period,
    current_spend_usd: Nullable(about(Usd, 'Spent in the period.')),
    reserved_usd: Nullable(about(Usd, 'Held by open reservations, without this request.')),
    limit_usd: Nullable(Usd),
    overage_usd: Nullable(about(Usd, 'By how much spent, held and requested together exceed the limit.')),
    period_starts_at: Time,
    period_ends_at: about(Time, 'Exclusive.'),
    reset_at: about(Time, 'The same as period_ends_at.'),
    requested_usd: Usd,
    largest_allowed_usd: LargestAllowed,
    violations: Type.Array(Violation, { description: 'Every quota that does not allow the amount.' }),
  },
  {
    title: 'QuotaExceeded',
    additionalProperties: true,
    description:
      'A refusal by quota. The quota at the top level is the violated one that resets last. Amounts are null if this key may not see them.',
  },
)

const NotMadeYet = {
  quota_id: Nullable(Type.Integer({ description: 'Null for a default quota that no reservation has created yet.' })),
}
const CheckedBalance = Type.Object(
  { ...QuotaBalance.properties, ...NotMadeYet },
  { title: 'CheckedBalance', description: 'The balance of a quota, which may not exist yet.' },
)

export const CheckAnswer = Type.Object(
  {
    allowed: Type.Boolean({ description: 'Whether a reservation with this body would be made now.' }),
    requested_usd: Usd,
    largest_allowed_usd: LargestAllowed,
    price_id: PriceId,
    caps: Caps,
    quotas: Type.Array(CheckedBalance),
    warnings: Type.Array(
      Type.Object({ ...Warning.properties, quota_id: Type.Optional(NotMadeYet.quota_id) }, { title: 'CheckWarning' }),
    ),
    violations: Type.Array(Type.Omit(CheckedBalance, ['enforcement'], { title: 'CheckViolation' }), {
      description: 'Every quota that does not allow the amount. Empty if allowed.',
    }),
  },
  { title: 'CheckAnswer' },
)

export const ExtendBody = Type.Object(
  {
    ttl_seconds: Type.Optional(
      about(TtlSeconds, 'expires_at becomes now plus this, or stays as it is if that is later.'),
    ),
    estimate: Type.Optional(
      Type.Object(
        {
          max_output_tokens: Type.Optional(Count),
          max_seconds: Type.Optional(MaxSeconds),
          estimated_cost_usd: Type.Optional(UsdInput),
        },
        {
          ...Closed,
          title: 'ExtendEstimate',
          description:
            'The new total, not an increase. Give the field that the reservation was estimated by. A total below the old one changes nothing.',
        },
      ),
    ),
  },
  { ...Closed, title: 'ExtendBody', description: 'Give ttl_seconds, estimate, or both.' },
)
export type ExtendBody = Static<typeof ExtendBody>

export const ExtendAnswer = Type.Object(
  {
    ...Reservation.properties,
    quotas: Type.Array(QuotaBalance),
    warnings: Type.Array(Warning),
  },
  { title: 'ExtendAnswer' },
)

const Text = Type.String({ maxLength: 200, format: 'label' })
const Measure = Type.Number({ minimum: 0, maximum: 1e12 })

/** What a commit may say about the call; stored, never changing the cost. */
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
          { ...Closed, title: 'CallError' },
        ),
      ),
    ),
  },
  { ...Closed, title: 'CallDetails', description: 'How the call went. Stored; it never changes the cost.' },
)

export const CommitBody = Type.Object(
  {
    usage: Type.Optional(TokenUsage),
    provider_usage: Type.Optional(ProviderUsage),
    actual_cost_usd: Type.Optional(about(UsdInput, 'What it cost, if you know it.')),
    usage_unknown: Type.Optional(
      Type.Literal(true, {
        description: 'Books the reserved amount as an estimated cost, which can be corrected later.',
      }),
    ),
    provider: Type.Optional(about(Id, 'The provider that really answered. Default: that of the reservation.')),
    model: Type.Optional(about(Id, 'The model that really answered. Default: that of the reservation.')),
    sandbox_id: Type.Optional(Nullable(about(Id, 'Stored with the record of a sandbox.'))),
    call: Type.Optional(Call),
    execution: Type.Optional(
      Type.Object(
        {
          language: Type.Optional(Text),
          duration_ms: Type.Optional(Measure),
          exit_code: Type.Optional(Type.Integer({ minimum: -2_147_483_648, maximum: 2_147_483_647 })),
        },
        {
          ...Closed,
          title: 'SandboxExecution',
          description: 'What ran in the sandbox. Stored; it never changes the cost.',
        },
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
        {
          ...Closed,
          title: 'SandboxResources',
          description: 'What the sandbox consumed. Stored; it never changes the cost.',
        },
      ),
    ),
  },
  {
    ...Closed,
    title: 'CommitBody',
    description: 'What was really used. Give one of usage, provider_usage, actual_cost_usd and usage_unknown.',
  },
)
export type CommitBody = Static<typeof CommitBody>

export const CommitAnswer = Type.Object(
  {
    reservation_id: Uuid,
    status: Type.Literal('committed'),
    cost_usd: about(Usd, 'What was booked.'),
    reserved_usd: about(Usd, 'What was held.'),
    released_usd: about(Usd, 'What of the hold was not needed and is free again.'),
    overrun_usd: about(Usd, 'By how much the cost exceeds the hold.'),
    late: Type.Boolean({
      description: 'The commit came after the hold had expired or been released, or after its period had ended.',
    }),
    estimated: Type.Boolean({ description: 'The cost is an estimate, because the usage is not known exactly.' }),
    cost_record_id: Uuid,
    price_id: PriceId,
    quotas: Type.Array(QuotaBalance, { description: 'Every quota that the cost counts in, after the commit.' }),
    warnings: Type.Array(Warning),
  },
  { title: 'CommitAnswer' },
)

export const ReleaseBody = Type.Object(
  {
    reason: Type.Optional(
      Type.String({ minLength: 1, maxLength: 200, format: 'label', description: 'Why; stored with the reservation.' }),
    ),
  },
  { ...Closed, title: 'ReleaseBody' },
)
export type ReleaseBody = Static<typeof ReleaseBody>

export const ReleaseAnswer = Type.Object(
  {
    reservation_id: Uuid,
    status: about(ReservationStatus, '`released`, or `expired` if the reservation had expired before.'),
    released_usd: about(Usd, 'What is free again.'),
    reason: Nullable(Type.String()),
  },
  { title: 'ReleaseAnswer' },
)

export const ReservationParams = Type.Object({ id: about(Uuid, 'The reservation_id.') })
