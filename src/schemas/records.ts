import { Type, type Static } from 'typebox'
import type { SpelledInstant } from '../domain/instant.ts'
import { Attribution, Closed, Id, Nullable, ResourceType, TimeInput, Usd, UsdInput, Uuid } from './common.ts'
import { CostRecord } from './costs.ts'
import { ProviderUsage, SandboxSize, ServiceTier, TokenUsage, UsageWarning } from './usage.ts'

const Seconds = Type.Number({ minimum: 0, maximum: 10_000_000 })

const RecordBody = Type.Object(
  {
    resource_type: ResourceType,
    ...Attribution,
    occurred_at: Type.Optional(
      Type.Unsafe<SpelledInstant>({
        ...TimeInput,
        description: 'When it was spent: it is priced then, and counts in the periods of then. Default: now',
      }),
    ),
    idempotency_key: Type.Optional(
      Type.String({
        pattern: '^[ -~]{1,255}$',
        description: 'Sent again with the same record, it is recorded once. Without one, a repeat is recorded again',
      }),
    ),
    llm: Type.Optional(
      Type.Object(
        {
          provider: Type.Optional(Id),
          model: Id,
          usage: Type.Optional(TokenUsage),
          provider_usage: Type.Optional(ProviderUsage),
          service_tier: Type.Optional(Nullable(ServiceTier)),
          region: Type.Optional(Nullable(Id)),
        },
        Closed,
      ),
    ),
    e2b: Type.Optional(Type.Object({ ...SandboxSize, seconds: Type.Optional(Seconds) }, Closed)),
    cost_usd: Type.Optional(UsdInput),
  },
  Closed,
)
export type RecordBody = Static<typeof RecordBody>

export const RecordsBody = Type.Object({ records: Type.Array(RecordBody, { minItems: 1, maxItems: 1000 }) }, Closed)
export type RecordsBody = Static<typeof RecordsBody>

export const RecordsAnswer = Type.Object({
  data: Type.Array(
    Type.Object({
      index: Type.Integer(),
      cost_record_id: Uuid,
      cost_usd: Usd,
      replayed: Type.Boolean(),
      warnings: Type.Array(UsageWarning),
    }),
  ),
})

export const RecordParams = Type.Object({ cost_record_id: Uuid })

export const CorrectBody = Type.Object(
  {
    usage: Type.Optional(TokenUsage),
    provider_usage: Type.Optional(ProviderUsage),
    cost_usd: Type.Optional(UsdInput),
    model: Type.Optional(Id),
    reason: Type.String({ minLength: 1, maxLength: 200, format: 'label' }),
  },
  Closed,
)
export type CorrectBody = Static<typeof CorrectBody>

export const CorrectAnswer = Type.Object({
  data: Type.Array(CostRecord, { description: 'The reversal of the corrected line, and the line that stands instead' }),
  warnings: Type.Array(UsageWarning),
})
