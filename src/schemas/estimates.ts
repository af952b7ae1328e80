import { Type, type Static } from 'typebox'
import { about, Closed, Id, Nullable, ResourceType, Time, TimeInput, Usd } from './common.ts'
import { LlmRequest, ProviderUsage, SandboxSize, ServiceTier, TokenUsage, UsageWarning } from './usage.ts'

const { properties: llm } = LlmRequest

export const EstimateBody = Type.Object(
  {
    resource_type: ResourceType,
    at: Type.Optional(about(TimeInput, 'Uses the prices of this time. Default: now.')),
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
          region: llm.region,
        },
        {
          ...Closed,
          title: 'EstimateLlm',
          description:
            'A call of a model. With usage or provider_usage: what it costs. Else, with max_output_tokens: the most that it can cost.',
        },
      ),
    ),
    e2b: Type.Optional(
      Type.Object(
        { ...SandboxSize, seconds: Type.Number({ minimum: 0, maximum: 10_000_000 }) },
        { ...Closed, title: 'EstimateE2b', description: 'A sandbox that runs for so many seconds.' },
      ),
    ),
  },
  { ...Closed, title: 'EstimateBody', description: 'What to price. Give `llm` or `e2b`.' },
)
export type EstimateBody = Static<typeof EstimateBody>

export const EstimateAnswer = Type.Object(
  {
    cost_usd: Usd,
    price_id: Type.Integer(),
    effective_date: about(Time, 'Since when the price counts.'),
    long_context: Type.Boolean({ description: 'Whether the rates for long contexts were used.' }),
    input_tokens: Type.Optional(Type.Integer({ description: 'Only if `text` was given: how many tokens it has.' })),
    breakdown: Type.Array(
      Type.Object(
        {
          bucket: Type.String({ description: 'What was counted, for instance `input`, `cache_read` or `seconds`.' }),
          quantity: Type.Number({ description: 'How many tokens, searches, requests or seconds.' }),
          usd_per_unit: about(Usd, 'USD for one of them.'),
          cost_usd: Usd,
        },
        { title: 'CostLine' },
      ),
      { description: 'What the cost is made of.' },
    ),
    warnings: Type.Array(UsageWarning),
  },
  { title: 'EstimateAnswer' },
)
