import { Type, type Static } from 'typebox'
import { SEARCH_CONTEXTS, type SearchContext } from '../domain/usage/normal-form.ts'
import { about, Closed, Id, Nullable } from './common.ts'

export const Count = Type.Integer({ minimum: 0, maximum: 1_000_000_000_000 })

export const ServiceTier = Type.Union(
  [
    Type.Literal('standard'),
    Type.Literal('batch'),
    Type.Literal('flex'),
    Type.Literal('priority'),
    Type.Literal('fast'),
  ],
  {
    title: 'ServiceTier',
    description: 'The service tier of the provider, which may change the price. Default: `standard`.',
  },
)

/** Tokens in normal form: input_tokens is the whole prompt, cache included; output_tokens includes reasoning. */
export const TokenUsage = Type.Object(
  {
    input_tokens: Type.Optional(about(Count, 'The whole prompt, including what was read from or written to a cache.')),
    cache_read_tokens: Type.Optional(about(Count, 'Part of input_tokens.')),
    cache_write_tokens: Type.Optional(about(Count, 'Part of input_tokens.')),
    cache_write_1h_tokens: Type.Optional(about(Count, 'Part of cache_write_tokens: written to be kept for an hour.')),
    cache_write_12h_tokens: Type.Optional(about(Count, 'Part of cache_write_tokens: written to be kept for 12 hours.')),
    output_tokens: Type.Optional(about(Count, 'The whole answer, including reasoning.')),
    reasoning_tokens: Type.Optional(about(Count, 'Part of output_tokens.')),
    audio_input_tokens: Type.Optional(about(Count, 'Part of input_tokens.')),
    audio_output_tokens: Type.Optional(about(Count, 'Part of output_tokens.')),
    image_input_tokens: Type.Optional(about(Count, 'Part of input_tokens.')),
    image_output_tokens: Type.Optional(about(Count, 'Part of output_tokens.')),
    video_input_tokens: Type.Optional(about(Count, 'Part of input_tokens.')),
    video_output_tokens: Type.Optional(about(Count, 'Part of output_tokens.')),
    web_searches: Type.Optional(about(Count, 'How many searches of the web the provider charges for.')),
    requests: Type.Optional(
      about(
        Count,
        'How many requests these tokens are the sum of. Fees a request and long-context rates depend on it.',
      ),
    ),
    service_tier: Type.Optional(ServiceTier),
    search_context: Type.Optional(
      Type.Unsafe<SearchContext>({
        anyOf: SEARCH_CONTEXTS.map((size) => Type.Literal(size)),
        description: 'How much of the web the request searched, if its provider charges by that.',
      }),
    ),
    // The usage of a sandbox has this field alone. The use case checks it, because its message can say what to do.
    seconds: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 10_000_000,
        description: 'How long a sandbox ran, in seconds. The usage of a sandbox has this field and no other.',
      }),
    ),
  },
  {
    ...Closed,
    title: 'TokenUsage',
    minProperties: 1,
    description: 'What a call or a sandbox used, in the same form for every provider.',
  },
)
export type UsageBody = Static<typeof TokenUsage>

/** Says that a usage may have been read or priced inexactly. */
export const UsageWarning = Type.Object(
  {
    code: Type.Union([
      Type.Literal('usage_unread'),
      Type.Literal('usage_total_differs'),
      Type.Literal('usage_unreadable'),
      Type.Literal('usage_unsplit'),
      Type.Literal('tier_unpriced'),
    ]),
    pointer: Type.Optional(Type.String({ description: 'A JSON Pointer into provider_usage as it was sent.' })),
    detail: Type.String({ description: 'What happened, for people.' }),
  },
  { title: 'UsageWarning', description: 'The usage may have been read or priced inexactly.' },
)

export type UsageWarning = Static<typeof UsageWarning>

/** A provider's own usage object, as it came. */
export const ProviderUsage = Type.Unsafe<Record<string, unknown>>({
  title: 'ProviderUsage',
  type: 'object',
  additionalProperties: true,
  description:
    "The provider's own usage object, or the body that carries it, unchanged. docs/pricing.md lists the forms that can be read.",
})

const Region = Type.Optional(Nullable(about(Id, 'The region it runs in, if the price depends on it.')))

export const LlmRequest = Type.Object(
  {
    provider: Type.Optional(about(Id, 'May be left out if only one provider has the model.')),
    model: Id,
    input_tokens: Type.Optional(about(Count, 'The tokens of the whole prompt. Give this or `text`.')),
    text: Type.Optional(
      Type.String({ maxLength: 1_000_000, description: 'The prompt. Its tokens are counted; the text is not kept.' }),
    ),
    cache_read_tokens: Type.Optional(about(Count, 'How much of the input is surely read from a cache.')),
    max_output_tokens: about(Count, 'The most tokens that the call may answer with, reasoning included.'),
    max_web_searches: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
    service_tier: Type.Optional(Nullable(ServiceTier)),
    region: Region,
  },
  { ...Closed, title: 'LlmRequest', description: 'A planned call of a model, to estimate the most it can cost.' },
)
export type LlmRequest = Static<typeof LlmRequest>

export const SandboxSize = {
  tier: Type.Optional(about(Id, 'A size by its name, for instance `medium`. Give this, or vcpu and memory_mib.')),
  vcpu: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1024 })),
  memory_mib: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_194_304 })),
  region: Region,
}

/** How long a sandbox may run. */
export const MaxSeconds = Type.Number({
  exclusiveMinimum: 0,
  maximum: 86_400,
  description: 'The longest that the sandbox may run, in seconds.',
})

export const E2bRequest = Type.Object(
  { ...SandboxSize, max_seconds: MaxSeconds },
  { ...Closed, title: 'E2bRequest', description: 'A planned sandbox, to estimate the most it can cost.' },
)
export type E2bRequest = Static<typeof E2bRequest>
