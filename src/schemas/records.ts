import { Type, type Static } from 'typebox'
import type { SpelledInstant } from '../domain/instant.ts'
import { about, Attribution, Closed, Id, Nullable, ResourceType, TimeInput, Usd, UsdInput, Uuid } from './common.ts'
import { CostRecord } from './costs.ts'
import { ProviderUsage, SandboxSize, ServiceTier, TokenUsage, UsageWarning } from './usage.ts'

const Seconds = Type.Number({ minimum: 0, maximum: 10_000_000, description: 'How long the sandbox ran.' })

const RecordBody = Type.Object(
  {
    resource_type: ResourceType,
    ...Attribution,
    occurred_at: Type.Optional(
      Type.Unsafe<SpelledInstant>({
        ...TimeInput,
        description:
          'When the money was spent. The prices and the periods of that time count. Default: now. At most 5 minutes ahead; more than 90 days ago only with an admin key, and then it counts in no quota.',
      }),
    ),
    idempotency_key: Type.Optional(
      Type.String({
        pattern: '^[ -~]{1,255}$',
        description:
          'Makes it safe to send the record again: it is recorded once. Without a key, a repeated record is recorded again.',
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
        { ...Closed, title: 'RecordLlm', description: 'A call of a model. Give usage or provider_usage.' },
      ),
    ),
    e2b: Type.Optional(
      Type.Object(
        { ...SandboxSize, seconds: Type.Optional(Seconds) },
        { ...Closed, title: 'RecordE2b', description: 'A sandbox that ran.' },
      ),
    ),
    cost_usd: Type.Optional(about(UsdInput, 'What it cost, if you know it. Needs no quantities then.')),
  },
  { ...Closed, title: 'RecordBody', description: 'One cost. Give quantities in `llm` or `e2b`, or cost_usd.' },
)
export type RecordBody = Static<typeof RecordBody>

export const RecordsBody = Type.Object(
  { records: Type.Array(RecordBody, { minItems: 1, maxItems: 1000 }) },
  { ...Closed, title: 'RecordsBody' },
)
export type RecordsBody = Static<typeof RecordsBody>

export const RecordsAnswer = Type.Object(
  {
    data: Type.Array(
      Type.Object(
        {
          index: Type.Integer({ description: 'The place of the record in the request, from 0.' }),
          cost_record_id: Uuid,
          cost_usd: Usd,
          replayed: Type.Boolean({ description: 'True: it had been recorded before with the same idempotency_key.' }),
          warnings: Type.Array(UsageWarning),
        },
        { title: 'RecordAnswer' },
      ),
      { description: 'One for each record, in the order of the request.' },
    ),
  },
  { title: 'RecordsAnswer' },
)

export const RecordParams = Type.Object({ cost_record_id: Uuid })

export const CorrectBody = Type.Object(
  {
    usage: Type.Optional(TokenUsage),
    provider_usage: Type.Optional(ProviderUsage),
    cost_usd: Type.Optional(about(UsdInput, 'The real cost. The quantities stay as they were.')),
    model: Type.Optional(about(Id, 'The model that really answered. Default: that of the record.')),
    reason: Type.String({
      minLength: 1,
      maxLength: 200,
      format: 'label',
      description: 'Why you correct it. Kept in the audit log, so it must hold no personal data.',
    }),
  },
  {
    ...Closed,
    title: 'CorrectBody',
    description: 'What was really used. Give one of usage, provider_usage and cost_usd.',
  },
)
export type CorrectBody = Static<typeof CorrectBody>

export const CorrectAnswer = Type.Object(
  {
    data: Type.Array(CostRecord, {
      description: 'First the record that reverses the corrected one, then the record that replaces it.',
    }),
    warnings: Type.Array(UsageWarning),
  },
  { title: 'CorrectAnswer' },
)
