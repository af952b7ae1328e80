import { Type, type Static } from 'typebox'
import { Closed, Id, Nullable, ResourceType, Time, TimeInput, Usd } from './common.ts'
import { LlmRequest, ProviderUsage, SandboxSize, ServiceTier, TokenUsage, UsageWarning } from './usage.ts'

const { properties: llm } = LlmRequest

export const EstimateBody = Type.Object(
  {
    resource_type: ResourceType,
    at: Type.Optional(TimeInput),
    llm: Type.Optional(
      Type.Object(
        {
          provider: Type.Optional(Id),
          model: Id,
          usage: Type.Optional(TokenUsage),
          provider_usage: Type.Optional(ProviderUsage),
          text: llm.text,
          input_tokens: llm.input_tokens,
          cache_read_tokens: llm.cache_read_tokens,
          max_output_tokens: Type.Optional(llm.max_output_tokens),
          max_web_searches: llm.max_web_searches,
          service_tier: Type.Optional(Nullable(ServiceTier)),
          region: Type.Optional(Nullable(Id)),
        },
        Closed,
      ),
    ),
    e2b: Type.Optional(
      Type.Object({ ...SandboxSize, seconds: Type.Number({ minimum: 0, maximum: 10_000_000 }) }, Closed),
    ),
  },
  Closed,
)
export type EstimateBody = Static<typeof EstimateBody>

export const EstimateAnswer = Type.Object({
  cost_usd: Usd,
  price_id: Type.Integer(),
  effective_date: Time,
  long_context: Type.Boolean(),
  input_tokens: Type.Optional(Type.Integer()),
  breakdown: Type.Array(
    Type.Object({ bucket: Type.String(), quantity: Type.Number(), usd_per_unit: Usd, cost_usd: Usd }),
  ),
  warnings: Type.Array(UsageWarning),
})
