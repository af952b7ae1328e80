import type { BetaMessageDeltaUsage, BetaUsage } from '@anthropic-ai/sdk/resources/beta/messages/messages'
import type { Message, MessageDeltaUsage, Usage as AnthropicUsage } from '@anthropic-ai/sdk/resources/messages/messages'
import type { GenerateContentResponseUsageMetadata, Interactions, UsageMetadata } from '@google/genai'
import type { LanguageModelUsage } from 'ai'
import type { CompletionUsage as GroqUsage } from 'groq-sdk/resources/completions'
import type { CompletionUsage } from 'openai/resources/completions'
import type { ImagesResponse } from 'openai/resources/images'
import type { RealtimeResponseUsage } from 'openai/resources/realtime/realtime'
import type { Response, ResponseUsage } from 'openai/resources/responses/responses'
import type { ModelPrice } from '../../src/domain/price.ts'
import type { UsageSource } from '../../src/domain/usage/index.ts'

/**
 * A rate card on which no two buckets and no two fees cost the same, so that any misplaced token changes the cost.
 */
export const distinctCard: ModelPrice = {
  priceId: '1',
  provider: 'any',
  model: 'distinct',
  effectiveDate: '1970-01-01T00:00:00Z',
  expiresAt: null,
  source: 'test',
  usdPerMtok: {
    input: '2',
    cache_read: '0.2',
    cache_read_audio: '0.5',
    cache_read_image: '0.3',
    cache_write: '2.5',
    cache_write_1h: '4',
    cache_write_12h: '5',
    audio_input: '30',
    image_input: '8',
    video_input: '6',
    output: '10',
    reasoning: '12',
    audio_output: '60',
    image_output: '32',
    video_output: '20',
  },
  usdPerUnit: {
    web_search: '0.01',
    request: '0',
    request_low: '0.001',
    request_medium: '0.003',
    request_high: '0.004',
  },
  longContext: null,
  modifiers: { batch: '0.5', flex: '0.6', priority: '1.5', fast: '3', 'region:us': '1.1' },
}

/** Numbers in usage objects that no provider charges for. */
export const NO_QUANTITY =
  /^\/requests$|status_code|_time$|contextWindow|maxOutputTokens|model_context_window|web_fetch_requests|^\/choices\/0\/index$|total_token_usage|(input_tokens|output_tokens|request)_cost$|upstream/i

/** Tokens × USD per million of them. */
type Term = [tokens: number, usdPerMtok: number]

export type Sample = {
  form: string
  source: UsageSource
  raw: Record<string, unknown>
  /** The cost at the card above, calculated by hand: each quantity at its rate. */
  terms: Term[]
  feesUsd?: number
  factor?: number
  /** Pointers to numbers that repeat other numbers. */
  repeats?: RegExp
  /** Codes of the warnings that it must have; none by default. */
  warns?: string[]
}

const openai = { provider: 'openai', model: 'gpt-6.1-sol' }
const claude = { provider: 'anthropic', model: 'claude-opus-5-5' }
const gemini = { provider: 'google', model: 'gemini-3.8-flash' }
const grok = { provider: 'x-ai', model: 'grok-4.6' }
const openrouter = { provider: 'openrouter', model: 'anthropic/claude-sonnet-4.6' }
const bedrock = { provider: 'aws', model: 'global.anthropic.claude-haiku-4-5-20251001-v1:0' }

/**
 * `satisfies` checks a sample against the provider's own type. The others are published examples, with their source.
 */
export const SAMPLES: readonly Sample[] = [
  {
    form: 'OpenAI chat completions',
    source: openai,
    raw: {
      prompt_tokens: 12_362,
      completion_tokens: 640,
      total_tokens: 13_002,
      prompt_tokens_details: { cached_tokens: 4_096, cache_write_tokens: 1_000, audio_tokens: 0 },
      completion_tokens_details: { reasoning_tokens: 384, audio_tokens: 0, accepted_prediction_tokens: 7 },
    } satisfies CompletionUsage,
    terms: [
      [7_266, 2],
      [4_096, 0.2],
      [1_000, 2.5],
      [256, 10],
      [384, 12],
    ],
  },
  {
    form: 'OpenAI chat completions with audio',
    source: { provider: 'openai', model: 'gpt-4o-audio-preview' },
    raw: {
      prompt_tokens: 500,
      completion_tokens: 300,
      total_tokens: 800,
      prompt_tokens_details: { audio_tokens: 200, cached_tokens: 0 },
      completion_tokens_details: { audio_tokens: 250, reasoning_tokens: 0 },
    } satisfies CompletionUsage,
    terms: [
      [300, 2],
      [200, 30],
      [50, 10],
      [250, 60],
    ],
  },
  {
    form: 'OpenAI embeddings',
    source: { provider: 'openai', model: 'text-embedding-3-small' },
    raw: { prompt_tokens: 8, total_tokens: 8 },
    terms: [[8, 2]],
  },
  {
    form: 'OpenAI responses, the body',
    source: openai,
    raw: {
      service_tier: 'priority',
      usage: {
        input_tokens: 5_000,
        input_tokens_details: {
          cached_tokens: 1_024,
          cache_write_tokens: 600,
          cache_write_tokens_details: { ttl_12h_tokens: 200, ttl_30m_tokens: 400 },
        },
        output_tokens: 300,
        output_tokens_details: { reasoning_tokens: 250 },
        total_tokens: 5_300,
      } satisfies ResponseUsage,
      tool_usage: { web_search: { num_requests: 3 } } satisfies Partial<Response.ToolUsage>,
    },
    terms: [
      [3_376, 2],
      [1_024, 0.2],
      [400, 2.5],
      [200, 5],
      [50, 10],
      [250, 12],
    ],
    factor: 1.5,
    feesUsd: 0.03,
  },
  {
    form: 'OpenAI realtime',
    source: { provider: 'openai', model: 'gpt-realtime' },
    raw: {
      input_tokens: 500,
      output_tokens: 200,
      total_tokens: 700,
      input_token_details: {
        text_tokens: 300,
        audio_tokens: 200,
        cached_tokens: 120,
        cached_tokens_details: { text_tokens: 64, audio_tokens: 56 },
      },
      output_token_details: { text_tokens: 50, audio_tokens: 150 },
    } satisfies RealtimeResponseUsage,
    terms: [
      [236, 2],
      [144, 30],
      [64, 0.2],
      [56, 0.5],
      [50, 10],
      [150, 60],
    ],
  },
  {
    form: 'OpenAI images',
    source: { provider: 'openai', model: 'gpt-image-1.5' },
    raw: {
      input_tokens: 90,
      input_tokens_details: { text_tokens: 10, image_tokens: 80 },
      output_tokens: 4_160,
      output_tokens_details: { text_tokens: 60, image_tokens: 4_100 },
      total_tokens: 4_250,
    } satisfies ImagesResponse.Usage,
    terms: [
      [10, 2],
      [80, 8],
      [60, 10],
      [4_100, 32],
    ],
  },
  {
    form: 'OpenAI images without output details: all of it is images',
    source: { provider: 'azure', model: 'gpt-image-1.5' },
    raw: {
      input_tokens: 300,
      input_tokens_details: { text_tokens: 100, image_tokens: 200 },
      output_tokens: 1_000,
      total_tokens: 1_300,
    } satisfies ImagesResponse.Usage,
    terms: [
      [100, 2],
      [200, 8],
      [1_000, 32],
    ],
  },
  {
    form: 'Codex token_count (the event as its issue tracker shows it)',
    source: openai,
    raw: {
      type: 'token_count',
      info: {
        total_token_usage: {
          input_tokens: 226_616,
          cached_input_tokens: 176_640,
          output_tokens: 1_670,
          total_tokens: 228_286,
        },
        last_token_usage: {
          input_tokens: 26_701,
          cached_input_tokens: 2_048,
          output_tokens: 283,
          reasoning_output_tokens: 211,
          total_tokens: 26_984,
        },
        model_context_window: 190_000,
      },
    },
    terms: [
      [24_653, 2],
      [2_048, 0.2],
      [72, 10],
      [211, 12],
    ],
  },
  {
    form: 'Codex turn.completed (Usage of @openai/codex-sdk 0.163)',
    source: openai,
    raw: {
      type: 'turn.completed',
      usage: {
        input_tokens: 5_000,
        cached_input_tokens: 3_000,
        cache_write_input_tokens: 500,
        output_tokens: 100,
        reasoning_output_tokens: 40,
      },
    },
    terms: [
      [1_500, 2],
      [3_000, 0.2],
      [500, 2.5],
      [60, 10],
      [40, 12],
    ],
  },
  {
    form: 'Groq',
    source: { provider: 'groq', model: 'openai/gpt-oss-20b' },
    raw: {
      prompt_tokens: 100,
      completion_tokens: 20,
      total_tokens: 120,
      queue_time: 0.02,
      total_time: 0.05,
      prompt_tokens_details: { cached_tokens: 64 },
      completion_tokens_details: null,
    } satisfies GroqUsage,
    terms: [
      [36, 2],
      [64, 0.2],
      [20, 10],
    ],
  },
  {
    form: "DeepSeek (its API reference's example)",
    source: { provider: 'deepseek', model: 'deepseek-v4-pro' },
    raw: {
      prompt_tokens: 50,
      completion_tokens: 25,
      total_tokens: 75,
      prompt_cache_hit_tokens: 30,
      prompt_cache_miss_tokens: 20,
      completion_tokens_details: { reasoning_tokens: 5 },
    },
    terms: [
      [20, 2],
      [30, 0.2],
      [20, 10],
      [5, 12],
    ],
  },
  {
    form: 'Moonshot, the last chunk of a stream (its API reference)',
    source: { provider: 'moonshotai', model: 'kimi-k3' },
    raw: {
      choices: [{ index: 0, usage: { prompt_tokens: 18, completion_tokens: 22, total_tokens: 40, cached_tokens: 10 } }],
    },
    terms: [
      [8, 2],
      [10, 0.2],
      [22, 10],
    ],
  },
  {
    form: 'Mistral, as its SDK writes it (UsageInfo of @mistralai/mistralai 2.7)',
    source: { provider: 'mistral', model: 'mistral-large-latest' },
    raw: { promptTokens: 100, completionTokens: 20, totalTokens: 120, serviceTier: 'priority' },
    terms: [
      [100, 2],
      [20, 10],
    ],
    factor: 1.5,
  },
  {
    form: 'xAI: reasoning on top by the total (its API reference)',
    source: grok,
    raw: {
      prompt_tokens: 199,
      completion_tokens: 1,
      total_tokens: 337,
      prompt_tokens_details: { text_tokens: 199, audio_tokens: 0, image_tokens: 0, cached_tokens: 163 },
      completion_tokens_details: {
        reasoning_tokens: 137,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
      num_sources_used: 0,
      // 36 x 2 + 163 x 0.2 + 10 + 137 x 12 = 1,758.6 USD a million times, in ticks of 1e-10 USD.
      cost_in_usd_ticks: 17_586_000,
    },
    terms: [
      [36, 2],
      [163, 0.2],
      [1, 10],
      [137, 12],
    ],
  },
  {
    form: "Perplexity's deep research: reasoning and citations outside the total (its API reference's example)",
    source: { provider: 'perplexity', model: 'sonar-deep-research' },
    raw: {
      prompt_tokens: 33,
      completion_tokens: 7_163,
      total_tokens: 7_196,
      citation_tokens: 20_016,
      num_search_queries: 28,
      reasoning_tokens: 95_305,
    },
    terms: [
      [33, 2],
      [20_016, 2],
      [7_163, 10],
      [95_305, 12],
    ],
    feesUsd: 0.28,
  },
  {
    form: "Perplexity's request fee by how much was searched (its API reference)",
    source: { provider: 'perplexity', model: 'sonar-pro' },
    raw: {
      prompt_tokens: 1_000,
      completion_tokens: 100,
      total_tokens: 1_100,
      search_context_size: 'medium',
      cost: { input_tokens_cost: 0.002, output_tokens_cost: 0.001, request_cost: 0.003, total_cost: 0.006 },
    },
    terms: [
      [1_000, 2],
      [100, 10],
    ],
    feesUsd: 0.003,
  },
  {
    form: 'OpenRouter, as its SDK writes it (ChatUsage of @openrouter/sdk 1.3)',
    source: openrouter,
    raw: {
      promptTokens: 1_300,
      completionTokens: 10,
      totalTokens: 1_310,
      promptTokensDetails: { cachedTokens: 200, cacheWriteTokens: 100, audioTokens: 0, videoTokens: 0 },
      completionTokensDetails: { reasoningTokens: 4 },
      // 1,000 x 2 + 200 x 0.2 + 100 x 2.5 + 6 x 10 + 4 x 12
      cost: 0.002398,
      costDetails: {
        upstreamInferenceCost: null,
        upstreamInferencePromptCost: 0.00229,
        upstreamInferenceCompletionsCost: 0.000108,
      },
      isByok: false,
    },
    terms: [
      [1_000, 2],
      [200, 0.2],
      [100, 2.5],
      [6, 10],
      [4, 12],
    ],
  },
  {
    form: "LiteLLM: Anthropic's in OpenAI's form (Usage of litellm 1.80)",
    source: claude,
    raw: {
      prompt_tokens: 2_205,
      completion_tokens: 10,
      total_tokens: 2_215,
      cache_creation_input_tokens: 2_000,
      cache_read_input_tokens: 200,
      prompt_tokens_details: {
        cached_tokens: 200,
        cache_creation_tokens: 2_000,
        cache_creation_token_details: { ephemeral_5m_input_tokens: 500, ephemeral_1h_input_tokens: 1_500 },
        text_tokens: 5,
      },
      server_tool_use: { web_search_requests: 3 },
    },
    terms: [
      [5, 2],
      [200, 0.2],
      [500, 2.5],
      [1_500, 4],
      [10, 10],
    ],
    feesUsd: 0.03,
  },
  {
    form: "LiteLLM: Anthropic's speed in OpenAI's form (Usage of litellm 1.80)",
    source: claude,
    raw: { prompt_tokens: 900, completion_tokens: 100, total_tokens: 1_000, speed: 'fast', inference_geo: 'us' },
    terms: [
      [900, 2],
      [100, 10],
    ],
    factor: 3.3,
  },
  {
    form: "OpenAI's Agents SDK for Python: the requests of a run (Usage of openai-agents 0.6)",
    source: openai,
    raw: {
      requests: 3,
      input_tokens: 600,
      input_tokens_details: { cached_tokens: 100 },
      output_tokens: 40,
      output_tokens_details: { reasoning_tokens: 10 },
      total_tokens: 640,
    },
    terms: [
      [500, 2],
      [100, 0.2],
      [30, 10],
      [10, 12],
    ],
  },
  {
    form: "Gemini through OpenAI's form: what the total has beyond its parts is reasoning (its OpenAI compatibility guide)",
    source: gemini,
    raw: { prompt_tokens: 100, completion_tokens: 50, total_tokens: 350 },
    terms: [
      [100, 2],
      [50, 10],
      [200, 12],
    ],
  },
  {
    form: 'Anthropic',
    source: claude,
    raw: {
      input_tokens: 100,
      cache_creation_input_tokens: 1_000,
      cache_read_input_tokens: 4_000,
      cache_creation: { ephemeral_5m_input_tokens: 800, ephemeral_1h_input_tokens: 200 },
      output_tokens: 640,
      output_tokens_details: { thinking_tokens: 512 },
      server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 },
      service_tier: 'standard',
      inference_geo: 'us',
      speed: null,
    } satisfies AnthropicUsage,
    terms: [
      [100, 2],
      [4_000, 0.2],
      [800, 2.5],
      [200, 4],
      [128, 10],
      [512, 12],
    ],
    factor: 1.1,
    feesUsd: 0.02,
  },
  {
    form: 'Anthropic, fast mode alone',
    source: claude,
    raw: { input_tokens: 500, output_tokens: 50, speed: 'fast' } satisfies Partial<BetaUsage>,
    terms: [
      [500, 2],
      [50, 10],
    ],
    factor: 3,
  },
  {
    form: 'Anthropic, compaction alone',
    source: claude,
    raw: {
      input_tokens: 1_000,
      output_tokens: 100,
      iterations: [
        {
          type: 'compaction',
          input_tokens: 50_000,
          output_tokens: 2_000,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 30,
          cache_creation: null,
        },
        {
          type: 'message',
          input_tokens: 1_000,
          output_tokens: 100,
          cache_creation_input_tokens: 0,
          cache_read_input_tokens: 0,
          cache_creation: null,
          model: null,
        },
      ],
    } satisfies Partial<BetaUsage>,
    terms: [
      [51_000, 2],
      [30, 0.2],
      [2_100, 10],
    ],
  },
  {
    form: 'Anthropic, the end of a stream: the dearer lifetime of writes, and a warning',
    source: claude,
    raw: {
      type: 'message_delta',
      usage: {
        input_tokens: 100,
        cache_creation_input_tokens: 1_000,
        cache_read_input_tokens: 4_000,
        output_tokens: 640,
        output_tokens_details: null,
        server_tool_use: null,
      } satisfies MessageDeltaUsage,
    },
    terms: [
      [100, 2],
      [4_000, 0.2],
      [1_000, 4],
      [640, 10],
    ],
    warns: ['usage_unread'],
  },
  {
    form: 'Anthropic, the end of a stream whose iterations know the lifetimes',
    source: claude,
    raw: {
      type: 'message_delta',
      usage: {
        input_tokens: 100,
        cache_creation_input_tokens: 1_000,
        cache_read_input_tokens: 0,
        output_tokens: 40,
        iterations: [
          {
            type: 'message',
            input_tokens: 100,
            output_tokens: 40,
            cache_creation_input_tokens: 1_000,
            cache_read_input_tokens: 0,
            cache_creation: { ephemeral_5m_input_tokens: 700, ephemeral_1h_input_tokens: 300 },
            model: null,
          },
        ],
      } satisfies Partial<BetaMessageDeltaUsage>,
    },
    terms: [
      [100, 2],
      [700, 2.5],
      [300, 4],
      [40, 10],
    ],
  },
  {
    form: "Anthropic, a line of a batch's results",
    source: claude,
    raw: {
      custom_id: 'r-1',
      result: { type: 'succeeded', message: { usage: { input_tokens: 10, output_tokens: 20, service_tier: 'batch' } } },
    },
    terms: [
      [10, 2],
      [20, 10],
    ],
    factor: 0.5,
  },
  {
    form: 'Anthropic, a message on Vertex AI',
    source: { provider: 'google', model: 'claude-opus-5-5@20260901' },
    raw: {
      type: 'message',
      usage: { input_tokens: 10, output_tokens: 20, cache_read_input_tokens: 30, cache_creation_input_tokens: 0 },
    } satisfies Pick<Message, 'type'> & { usage: Partial<AnthropicUsage> },
    terms: [
      [10, 2],
      [30, 0.2],
      [20, 10],
    ],
  },
  {
    form: "Bedrock's Converse (TokenUsage of its API reference)",
    source: bedrock,
    raw: {
      output: {},
      serviceTier: { type: 'priority' },
      usage: {
        inputTokens: 100,
        outputTokens: 20,
        totalTokens: 1_420,
        cacheReadInputTokens: 1_000,
        cacheWriteInputTokens: 300,
        cacheDetails: [
          { ttl: '1h', inputTokens: 200 },
          { ttl: '5m', inputTokens: 100 },
        ],
      },
    },
    terms: [
      [100, 2],
      [1_000, 0.2],
      [100, 2.5],
      [200, 4],
      [20, 10],
    ],
    factor: 1.5,
  },
  {
    form: "Bedrock's Converse without a cache, its optimized latency (TokenUsage of its API reference)",
    source: { provider: 'aws', model: 'us.amazon.nova-pro-v1:0' },
    raw: {
      usage: { inputTokens: 1_000, outputTokens: 200, totalTokens: 1_200 },
      serviceTier: { type: 'flex' },
      performanceConfig: { latency: 'standard' },
    },
    terms: [
      [1_000, 2],
      [200, 10],
    ],
    factor: 0.6,
  },
  {
    form: 'Claude Agent SDK, an entry of modelUsage (ModelUsage of its 0.3.332)',
    source: claude,
    raw: {
      inputTokens: 20,
      outputTokens: 30,
      thinkingTokens: 10,
      cacheReadInputTokens: 1_000,
      cacheCreationInputTokens: 400,
      cacheCreationEphemeral5mInputTokens: 250,
      cacheCreationEphemeral1hInputTokens: 100,
      webSearchRequests: 1,
      // 20 x 2 + 1,000 x 0.2 + 300 x 2.5 + 100 x 4 + 20 x 10 + 10 x 12, and a search
      costUSD: 0.01171,
      contextWindow: 200_000,
      maxOutputTokens: 64_000,
    },
    terms: [
      [20, 2],
      [1_000, 0.2],
      [300, 2.5],
      [100, 4],
      [20, 10],
      [10, 12],
    ],
    feesUsd: 0.01,
  },
  {
    form: 'Claude Agent SDK, the result of a session: the share of the model (SDKResultMessage of its 0.3.332)',
    source: claude,
    raw: {
      type: 'result',
      usage: { input_tokens: 20, output_tokens: 30, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
      modelUsage: {
        'claude-opus-5-5': {
          inputTokens: 20,
          outputTokens: 30,
          cacheReadInputTokens: 0,
          cacheCreationInputTokens: 0,
          webSearchRequests: 0,
          // 20 x 2 + 30 x 10
          costUSD: 0.00034,
          contextWindow: 200_000,
          maxOutputTokens: 64_000,
        },
      },
    },
    repeats: /^\/usage\//,
    terms: [
      [20, 2],
      [30, 10],
    ],
  },
  {
    form: 'Gemini: thoughts and tool use on top',
    source: gemini,
    raw: {
      usageMetadata: {
        promptTokenCount: 1_000,
        cachedContentTokenCount: 300,
        candidatesTokenCount: 50,
        thoughtsTokenCount: 400,
        toolUsePromptTokenCount: 80,
        totalTokenCount: 1_530,
        promptTokensDetails: [
          { modality: 'TEXT' as never, tokenCount: 600 },
          { modality: 'AUDIO' as never, tokenCount: 250 },
          { modality: 'VIDEO' as never, tokenCount: 150 },
        ],
        cacheTokensDetails: [
          { modality: 'TEXT' as never, tokenCount: 200 },
          { modality: 'AUDIO' as never, tokenCount: 100 },
        ],
        candidatesTokensDetails: [{ modality: 'IMAGE' as never, tokenCount: 40 }],
        trafficType: 'ON_DEMAND_FLEX' as never,
      } satisfies GenerateContentResponseUsageMetadata,
    },
    terms: [
      [480, 2],
      [150, 30],
      [150, 6],
      [200, 0.2],
      [100, 0.5],
      [10, 10],
      [400, 12],
      [40, 32],
    ],
    factor: 0.6,
  },
  {
    form: 'Gemini: thoughts inside the candidates, by the total',
    source: gemini,
    raw: {
      promptTokenCount: 200,
      candidatesTokenCount: 500,
      thoughtsTokenCount: 300,
      totalTokenCount: 700,
    } satisfies GenerateContentResponseUsageMetadata,
    terms: [
      [200, 2],
      [200, 10],
      [300, 12],
    ],
  },
  {
    form: 'Gemini: parts that are missing from the total are not free',
    source: gemini,
    raw: { promptTokenCount: 200, totalTokenCount: 900 } satisfies GenerateContentResponseUsageMetadata,
    terms: [
      [200, 2],
      [700, 10],
    ],
    warns: ['usage_total_differs'],
  },
  {
    form: 'Gemini, as its Python client writes it',
    source: gemini,
    raw: {
      usage_metadata: {
        prompt_token_count: 1_000,
        cached_content_token_count: 300,
        candidates_token_count: 50,
        thoughts_token_count: 400,
        total_token_count: 1_450,
      },
    },
    terms: [
      [700, 2],
      [300, 0.2],
      [50, 10],
      [400, 12],
    ],
  },
  {
    form: 'Gemini live',
    source: gemini,
    raw: {
      promptTokenCount: 10,
      responseTokenCount: 20,
      totalTokenCount: 30,
      serviceTier: 'priority' as never,
      responseTokensDetails: [{ modality: 'AUDIO' as never, tokenCount: 20 }],
    } satisfies UsageMetadata,
    terms: [
      [10, 2],
      [20, 60],
    ],
    factor: 1.5,
  },
  {
    form: 'Gemini interactions',
    source: gemini,
    raw: {
      usage: {
        total_input_tokens: 1_000,
        input_tokens_by_modality: [
          { modality: 'text', tokens: 700 },
          { modality: 'audio', tokens: 300 },
        ],
        total_cached_tokens: 200,
        cached_tokens_by_modality: [{ modality: 'audio', tokens: 120 }],
        total_output_tokens: 50,
        total_thought_tokens: 400,
        total_tool_use_tokens: 80,
        total_tokens: 1_530,
        grounding_tool_count: [{ type: 'google_search', count: 2 }],
      } satisfies Interactions.Usage,
    },
    terms: [
      [700, 2],
      [180, 30],
      [80, 0.2],
      [120, 0.5],
      [50, 10],
      [400, 12],
    ],
    feesUsd: 0.02,
  },
  {
    form: 'AI SDK 7',
    source: openai,
    raw: {
      inputTokens: 1_000,
      inputTokenDetails: { noCacheTokens: 450, cacheReadTokens: 350, cacheWriteTokens: 200 },
      outputTokens: 80,
      outputTokenDetails: { textTokens: 50, reasoningTokens: 30 },
      totalTokens: 1_080,
    } satisfies LanguageModelUsage,
    terms: [
      [450, 2],
      [350, 0.2],
      [200, 2.5],
      [50, 10],
      [30, 12],
    ],
  },
  {
    form: "AI SDK 7 with the provider's own usage, which knows the lifetimes and the searches",
    source: claude,
    raw: {
      inputTokens: 5_100,
      inputTokenDetails: { noCacheTokens: 100, cacheReadTokens: 4_000, cacheWriteTokens: 1_000 },
      outputTokens: 640,
      outputTokenDetails: { textTokens: undefined, reasoningTokens: undefined },
      totalTokens: 5_740,
      raw: {
        input_tokens: 100,
        cache_creation_input_tokens: 1_000,
        cache_read_input_tokens: 4_000,
        cache_creation: { ephemeral_5m_input_tokens: 800, ephemeral_1h_input_tokens: 200 },
        output_tokens: 640,
        server_tool_use: { web_search_requests: 2, web_fetch_requests: 0 },
      },
    } satisfies LanguageModelUsage,
    terms: [
      [100, 2],
      [4_000, 0.2],
      [800, 2.5],
      [200, 4],
      [640, 10],
    ],
    feesUsd: 0.02,
  },
  {
    form: 'AI SDK, between SDK and providers (LanguageModelV4Usage of @ai-sdk/provider)',
    source: openai,
    raw: {
      inputTokens: { total: 1_000, noCache: 500, cacheRead: 300, cacheWrite: 200 },
      outputTokens: { total: 80, text: 50, reasoning: 30 },
    },
    terms: [
      [500, 2],
      [300, 0.2],
      [200, 2.5],
      [50, 10],
      [30, 12],
    ],
  },
  {
    form: 'AI SDK 5, OpenAI: reasoning inside (LanguageModelV2Usage of @ai-sdk/provider)',
    source: openai,
    raw: { inputTokens: 100, outputTokens: 300, totalTokens: 400, reasoningTokens: 200, cachedInputTokens: 40 },
    terms: [
      [60, 2],
      [40, 0.2],
      [100, 10],
      [200, 12],
    ],
  },
  {
    form: 'AI SDK, images: all of the output is images (ImageModelUsage of ai 7)',
    source: { provider: 'openai', model: 'gpt-image-1.5' },
    raw: { inputTokens: 300, outputTokens: 1_000, totalTokens: 1_300 },
    terms: [
      [300, 2],
      [1_000, 32],
    ],
  },
  {
    form: 'AI SDK, the tier that served, in the metadata (@ai-sdk/openai)',
    source: openai,
    raw: {
      usage: { inputTokens: 3_100, outputTokens: 700, totalTokens: 3_800 },
      providerMetadata: { openai: { responseId: 'r-1', serviceTier: 'priority' } },
    },
    terms: [
      [3_100, 2],
      [700, 10],
    ],
    factor: 1.5,
  },
  {
    form: 'AI SDK 5, Google: its own usage in the metadata (@ai-sdk/google 2)',
    source: gemini,
    raw: {
      usage: { inputTokens: 40, outputTokens: 60, totalTokens: 9_300, reasoningTokens: 200 },
      providerMetadata: {
        google: {
          usageMetadata: {
            promptTokenCount: 40,
            candidatesTokenCount: 60,
            thoughtsTokenCount: 200,
            toolUsePromptTokenCount: 9_000,
            totalTokenCount: 9_300,
            trafficType: 'ON_DEMAND_PRIORITY',
          },
        },
      },
    },
    repeats: /^\/usage\/(input|output|reasoning)Tokens$/,
    terms: [
      [9_040, 2],
      [60, 10],
      [200, 12],
    ],
    factor: 1.5,
  },
  {
    form: "AI SDK 5, Perplexity's deep research (@ai-sdk/perplexity 2)",
    source: { provider: 'perplexity', model: 'sonar-deep-research' },
    raw: {
      usage: { inputTokens: 33, outputTokens: 7_163, totalTokens: 7_196 },
      providerMetadata: { perplexity: { usage: { citationTokens: 20_016, numSearchQueries: 28 } } },
    },
    terms: [
      [20_049, 2],
      [7_163, 10],
    ],
    feesUsd: 0.28,
  },
  {
    form: 'AI SDK 5, Google: reasoning on top (@ai-sdk/google 2)',
    source: gemini,
    raw: { inputTokens: 40, outputTokens: 60, totalTokens: 300, reasoningTokens: 200 },
    terms: [
      [40, 2],
      [60, 10],
      [200, 12],
    ],
  },
  {
    form: 'AI SDK 5, Anthropic: input without cache, writes in the metadata (@ai-sdk/anthropic 2)',
    source: claude,
    raw: {
      usage: { inputTokens: 50, outputTokens: 20, totalTokens: 70, cachedInputTokens: 1_000 },
      providerMetadata: { anthropic: { cacheCreationInputTokens: 400, stopSequence: null } },
    },
    terms: [
      [50, 2],
      [1_000, 0.2],
      [400, 2.5],
      [20, 10],
    ],
  },
  {
    form: 'AI SDK 5, Bedrock: writes in the metadata (@ai-sdk/amazon-bedrock 3)',
    source: bedrock,
    raw: {
      usage: { inputTokens: 50, outputTokens: 20, totalTokens: 70, cachedInputTokens: 1_000 },
      providerMetadata: { bedrock: { usage: { cacheWriteInputTokens: 400 } } },
    },
    terms: [
      [50, 2],
      [1_000, 0.2],
      [400, 2.5],
      [20, 10],
    ],
  },
  {
    form: 'AI SDK, one step on Bedrock, its tier and lifetimes in the metadata (@ai-sdk/amazon-bedrock 4)',
    source: bedrock,
    raw: {
      totalUsage: { inputTokens: 300, outputTokens: 30, totalTokens: 330 },
      steps: [
        {
          usage: { inputTokens: 300, outputTokens: 30, totalTokens: 330 },
          providerMetadata: {
            bedrock: {
              serviceTier: { type: 'priority' },
              usage: { cacheWriteInputTokens: 5_000, cacheDetails: [{ ttl: '1h', inputTokens: 4_000 }] },
            },
          },
        },
      ],
    },
    terms: [
      [300, 2],
      [1_000, 2.5],
      [4_000, 4],
      [30, 10],
    ],
    factor: 1.5,
  },
  {
    form: "OpenAI, a line of a batch's results (its Batch API reference)",
    source: openai,
    raw: {
      custom_id: 'r-1',
      response: {
        status_code: 200,
        body: { service_tier: 'default', usage: { prompt_tokens: 900, completion_tokens: 80, total_tokens: 980 } },
      },
    },
    terms: [
      [900, 2],
      [80, 10],
    ],
    factor: 0.5,
  },
  {
    form: 'AI SDK, the total of several steps, with each step',
    source: openai,
    raw: {
      usage: { inputTokens: 200, outputTokens: 5, totalTokens: 205 },
      totalUsage: { inputTokens: 300, outputTokens: 15, totalTokens: 315 },
      steps: [
        { usage: { inputTokens: 100, outputTokens: 10, totalTokens: 110 } },
        { usage: { inputTokens: 200, outputTokens: 5, totalTokens: 205 } },
      ],
    },
    repeats: /^\/usage\//,
    terms: [
      [300, 2],
      [15, 10],
    ],
  },
  {
    form: 'LangChain usage_metadata of Anthropic (UsageMetadata of @langchain/core 1.4)',
    source: claude,
    raw: {
      usage_metadata: {
        input_tokens: 3_000,
        output_tokens: 50,
        total_tokens: 3_050,
        input_token_details: { cache_read: 2_000, cache_creation: 500 },
        output_token_details: { reasoning: 10 },
      },
    },
    terms: [
      [500, 2],
      [2_000, 0.2],
      [500, 2.5],
      [40, 10],
      [10, 12],
    ],
  },
  {
    form: 'LangChain usage_metadata of Google: what the total has beyond its parts is reasoning (@langchain/google-genai 2.3)',
    source: gemini,
    raw: { usage_metadata: { input_tokens: 100, output_tokens: 50, total_tokens: 350 } },
    terms: [
      [100, 2],
      [50, 10],
      [200, 12],
    ],
  },
  {
    form: 'LangChain, a stream whose details are empty, and its tier (AIMessage of @langchain/core 1.4)',
    source: { provider: 'google', model: 'gemini-2.5-flash' },
    raw: {
      usage_metadata: {
        input_tokens: 100,
        output_tokens: 70,
        total_tokens: 170,
        input_token_details: {},
        output_token_details: {},
      },
      response_metadata: { service_tier: 'flex' },
    },
    terms: [
      [100, 2],
      [70, 10],
    ],
    factor: 0.6,
  },
  {
    form: 'LangChain, served as priority (langchain-openai for Python 1.0)',
    source: openai,
    raw: {
      input_tokens: 1_000,
      output_tokens: 100,
      total_tokens: 1_100,
      input_token_details: { priority_cache_read: 400, priority: 600 },
      output_token_details: { priority_reasoning: 30, priority: 70 },
    },
    terms: [
      [600, 2],
      [400, 0.2],
      [70, 10],
      [30, 12],
    ],
    factor: 1.5,
  },
  {
    form: 'our own normal form',
    source: { provider: 'acme', model: 'acme-1' },
    raw: {
      input_tokens: 10,
      cache_read_tokens: 5,
      output_tokens: 4,
      reasoning_tokens: 1,
      web_searches: 1,
      service_tier: 'batch',
    },
    terms: [
      [5, 2],
      [5, 0.2],
      [3, 10],
      [1, 12],
    ],
    factor: 0.5,
    feesUsd: 0.01,
  },
]
