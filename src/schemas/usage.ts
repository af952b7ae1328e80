import { Type, type Static } from 'typebox'
import { SEARCH_CONTEXTS, type SearchContext } from '../domain/usage/normal-form.ts'
import { Closed, Id, Nullable } from './common.ts'

export const Count = Type.Integer({ minimum: 0, maximum: 1_000_000_000_000 })

export const ServiceTier = Type.Union([
  Type.Literal('standard'),
  Type.Literal('batch'),
  Type.Literal('flex'),
  Type.Literal('priority'),
  Type.Literal('fast'),
])

/** Tokens in normal form: input_tokens is the whole prompt, cache included; output_tokens includes reasoning. */
export const TokenUsage = Type.Object(
  {
    input_tokens: Type.Optional(Count),
    cache_read_tokens: Type.Optional(Count),
    cache_write_tokens: Type.Optional(Count),
    cache_write_1h_tokens: Type.Optional(Count),
    cache_write_12h_tokens: Type.Optional(Count),
    output_tokens: Type.Optional(Count),
    reasoning_tokens: Type.Optional(Count),
    audio_input_tokens: Type.Optional(Count),
    audio_output_tokens: Type.Optional(Count),
    image_input_tokens: Type.Optional(Count),
    image_output_tokens: Type.Optional(Count),
    video_input_tokens: Type.Optional(Count),
    video_output_tokens: Type.Optional(Count),
    web_searches: Type.Optional(Count),
    requests: Type.Optional(Count),
    service_tier: Type.Optional(ServiceTier),
    search_context: Type.Optional(
      Type.Unsafe<SearchContext>({
        anyOf: SEARCH_CONTEXTS.map((size) => Type.Literal(size)),
        description: 'How much of the web the request searched, where its provider charges by that',
      }),
    ),
    // A sandbox's usage has this and nothing else; the service says so where it is not.
    seconds: Type.Optional(Type.Number({ minimum: 0, maximum: 10_000_000 })),
  },
  { ...Closed, minProperties: 1 },
)
export type UsageBody = Static<typeof TokenUsage>

/** Says that a usage may have been read or priced inexactly. */
export const UsageWarning = Type.Object({
  code: Type.Union([
    Type.Literal('usage_unread'),
    Type.Literal('usage_total_differs'),
    Type.Literal('usage_unreadable'),
    Type.Literal('usage_unsplit'),
    Type.Literal('tier_unpriced'),
  ]),
  pointer: Type.Optional(Type.String({ description: 'Into the usage object as it came' })),
  detail: Type.String(),
})

export type UsageWarning = Static<typeof UsageWarning>

/** A provider's own usage object, as it came. */
export const ProviderUsage = Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  additionalProperties: true,
  description:
    "The provider's own usage object, or the body that carries it, as it came. docs/pricing.md lists the forms that are read",
})

export const LlmRequest = Type.Object(
  {
    provider: Type.Optional(Id),
    model: Id,
    input_tokens: Type.Optional(Count),
    text: Type.Optional(Type.String({ maxLength: 1_000_000 })),
    cache_read_tokens: Type.Optional(Count),
    max_output_tokens: Count,
    max_web_searches: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
    service_tier: Type.Optional(Nullable(ServiceTier)),
    region: Type.Optional(Nullable(Id)),
  },
  Closed,
)
export type LlmRequest = Static<typeof LlmRequest>

export const SandboxSize = {
  tier: Type.Optional(Id),
  vcpu: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1024 })),
  memory_mib: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_194_304 })),
  region: Type.Optional(Nullable(Id)),
}

/** How long a sandbox may run. */
export const MaxSeconds = Type.Number({ exclusiveMinimum: 0, maximum: 86_400 })

export const E2bRequest = Type.Object({ ...SandboxSize, max_seconds: MaxSeconds }, Closed)
export type E2bRequest = Static<typeof E2bRequest>
