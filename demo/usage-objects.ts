import type Anthropic from '@anthropic-ai/sdk'
import type { GenerateContentResponseUsageMetadata, ModalityTokenCount } from '@google/genai'
import type Groq from 'groq-sdk'
import type OpenAI from 'openai'
import type { Random } from './random.ts'

export type Form =
  | 'openai chat completions'
  | 'openai responses'
  | 'anthropic messages'
  | 'google generate content'
  | 'groq chat completions'

/** The usage of one answer, and what its caller could know before the call. */
export type UsageObject = {
  form: Form
  provider: string
  model: string
  /**
   * The object as the provider sends it: the usage alone, or the body if the service tier and searches are beside it.
   */
  providerUsage: object
  promptTokens: number
  outputTokens: number
  webSearches: number
  serviceTier?: 'flex' | 'batch' | 'fast' | undefined
  region?: string | undefined
}

export const FORMS: Readonly<Record<Form, { provider: string; models: readonly string[]; make: Maker }>> = {
  'openai chat completions': { provider: 'openai', models: ['gpt-5.6-luna', 'gpt-5-mini'], make: openaiChat },
  'openai responses': { provider: 'openai', models: ['gpt-6.1-sol', 'gpt-6.1-terra'], make: openaiResponses },
  'anthropic messages': {
    provider: 'anthropic',
    models: ['claude-sonnet-5-5', 'claude-haiku-5-5', 'claude-opus-5-5'],
    make: anthropicMessages,
  },
  'google generate content': {
    provider: 'google',
    models: ['gemini-3.8-flash', 'gemini-4-argon'],
    make: googleContent,
  },
  'groq chat completions': {
    provider: 'groq',
    models: ['openai/gpt-oss-20b', 'llama-3.3-70b-versatile'],
    make: groqChat,
  },
}

/** Makes a usage object in a provider's form, for one of its models. */
export function makeUsageObject(random: Random, form: Form, model = random.pick(FORMS[form].models)): UsageObject {
  const { provider, make } = FORMS[form]
  return { form, provider, model, ...make(random, model) }
}

type Made = Omit<UsageObject, 'form' | 'provider' | 'model'>
type Maker = (random: Random, model: string) => Made

/** An SDK's type as JSON, where an enum is its text. */
type AsJson<Type> = Type extends string
  ? `${Type}`
  : Type extends object
    ? { [Name in keyof Type]: AsJson<Type[Name]> }
    : Type

const OPENAI_CACHE_STEP_TOKENS = 128

function openaiChat(random: Random): Made {
  const promptTokens = random.magnitude(200, 60_000)
  const outputTokens = random.magnitude(20, 4_000)
  const flex = random.chance(0.1)
  const usage = {
    prompt_tokens: promptTokens,
    completion_tokens: outputTokens,
    total_tokens: promptTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: openaiCached(random, promptTokens), audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: random.chance(0.5) ? random.shareOf(outputTokens, 0.2, 0.9) : 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  } satisfies OpenAI.CompletionUsage
  if (!flex && random.chance(0.5)) return { providerUsage: usage, promptTokens, outputTokens, webSearches: 0 }
  const body = { usage, service_tier: flex ? 'flex' : 'default' } satisfies Partial<OpenAI.ChatCompletion>
  return { providerUsage: body, promptTokens, outputTokens, webSearches: 0, serviceTier: flex ? 'flex' : undefined }
}

function openaiResponses(random: Random): Made {
  // Some exceed 272,000 tokens, where long-context rates begin.
  const promptTokens = random.chance(0.03) ? random.whole(272_001, 400_000) : random.magnitude(500, 90_000)
  const outputTokens = random.magnitude(50, 12_000)
  const cachedTokens = openaiCached(random, promptTokens)
  const usage = {
    input_tokens: promptTokens,
    input_tokens_details: {
      cached_tokens: cachedTokens,
      cache_write_tokens: random.chance(0.3) ? random.shareOf(promptTokens - cachedTokens, 0.5, 0.95) : 0,
    },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: random.chance(0.8) ? random.shareOf(outputTokens, 0.1, 0.9) : 0 },
    total_tokens: promptTokens + outputTokens,
  } satisfies OpenAI.Responses.ResponseUsage
  const webSearches = random.chance(0.15) ? random.whole(1, 4) : 0
  if (webSearches === 0) return { providerUsage: usage, promptTokens, outputTokens, webSearches }
  const noImages = {
    input_tokens: 0,
    input_tokens_details: { image_tokens: 0, text_tokens: 0 },
    output_tokens: 0,
    output_tokens_details: { image_tokens: 0, text_tokens: 0 },
    total_tokens: 0,
  }
  const body = {
    usage,
    service_tier: 'default',
    tool_usage: { image_gen: noImages, web_search: { num_requests: webSearches } },
  } satisfies Partial<OpenAI.Responses.Response>
  return { providerUsage: body, promptTokens, outputTokens, webSearches }
}

/** OpenAI caches from 1,024 tokens on and counts in steps. */
function openaiCached(random: Random, promptTokens: number): number {
  if (promptTokens < 1_024 || random.chance(0.4)) return 0
  const steps = Math.floor(random.shareOf(promptTokens, 0.3, 0.95) / OPENAI_CACHE_STEP_TOKENS)
  return steps * OPENAI_CACHE_STEP_TOKENS
}

function anthropicMessages(random: Random, model: string): Made {
  // Excludes cache reads and writes.
  const freshTokens = random.magnitude(3, 20_000)
  const readTokens = random.chance(0.5) ? random.magnitude(1_024, 90_000) : 0
  const writtenTokens = random.chance(0.4) ? random.magnitude(1_024, 30_000) : 0
  const written1hTokens = random.chance(0.4) ? random.shareOf(writtenTokens, 0.1, 1) : 0
  const outputTokens = random.magnitude(10, 8_000)
  const thinkingTokens = random.chance(0.4) ? random.shareOf(outputTokens, 0.1, 0.8) : 0
  const webSearches = random.chance(0.15) ? random.whole(1, 5) : 0
  const fast = model === 'claude-opus-5-5' && random.chance(0.2)
  const batch = !fast && random.chance(0.1)
  const inUs = random.chance(0.1)
  const known = {
    promptTokens: freshTokens + readTokens + writtenTokens,
    outputTokens,
    webSearches,
    serviceTier: fast ? ('fast' as const) : batch ? ('batch' as const) : undefined,
    region: inUs ? 'us' : undefined,
  }
  const counts = {
    input_tokens: freshTokens,
    cache_creation_input_tokens: writtenTokens,
    cache_read_input_tokens: readTokens,
    output_tokens: outputTokens,
    output_tokens_details: thinkingTokens > 0 ? { thinking_tokens: thinkingTokens } : null,
    server_tool_use: webSearches > 0 ? { web_search_requests: webSearches, web_fetch_requests: 0 } : null,
  }
  // A stream ends with cumulative counts. They do not give the lifetimes of cache writes or the served tier.
  const streamed = written1hTokens === 0 && !fast && !batch && !inUs && random.chance(0.3)
  if (streamed) return { ...known, providerUsage: counts satisfies Anthropic.MessageDeltaUsage }
  const usage = {
    ...counts,
    cache_creation: {
      ephemeral_5m_input_tokens: writtenTokens - written1hTokens,
      ephemeral_1h_input_tokens: written1hTokens,
    },
    service_tier: batch ? 'batch' : 'standard',
    inference_geo: inUs ? 'us' : 'global',
    speed: fast ? 'fast' : null,
  } satisfies Anthropic.Usage
  return { ...known, providerUsage: usage }
}

function googleContent(random: Random): Made {
  const promptTokens = random.magnitude(100, 120_000)
  const candidateTokens = random.magnitude(20, 6_000)
  const thoughtTokens = random.chance(0.6) ? random.magnitude(50, 8_000) : 0
  const toolTokens = random.chance(0.2) ? random.magnitude(100, 10_000) : 0
  const cachedTokens = promptTokens > 2_048 && random.chance(0.4) ? random.shareOf(promptTokens, 0.3, 0.9) : 0
  const imageTokens = random.chance(0.2) ? random.shareOf(promptTokens - cachedTokens, 0.1, 0.9) : 0
  const textTokens = promptTokens - imageTokens
  const usage = {
    promptTokenCount: promptTokens,
    candidatesTokenCount: candidateTokens,
    totalTokenCount: promptTokens + candidateTokens + thoughtTokens + toolTokens,
    promptTokensDetails: [modality('TEXT', textTokens), ...(imageTokens > 0 ? [modality('IMAGE', imageTokens)] : [])],
    // Counts of 0 are left out.
    ...(thoughtTokens > 0 ? { thoughtsTokenCount: thoughtTokens } : {}),
    ...(toolTokens > 0
      ? { toolUsePromptTokenCount: toolTokens, toolUsePromptTokensDetails: [modality('TEXT', toolTokens)] }
      : {}),
    ...(cachedTokens > 0
      ? { cachedContentTokenCount: cachedTokens, cacheTokensDetails: [modality('TEXT', cachedTokens)] }
      : {}),
  } satisfies AsJson<GenerateContentResponseUsageMetadata>
  return {
    providerUsage: usage,
    promptTokens: promptTokens + toolTokens,
    outputTokens: candidateTokens + thoughtTokens,
    webSearches: 0,
  }
}

function modality(name: 'TEXT' | 'IMAGE', tokens: number) {
  return { modality: name, tokenCount: tokens } satisfies AsJson<ModalityTokenCount>
}

function groqChat(random: Random, model: string): Made {
  const promptTokens = random.magnitude(80, 30_000)
  const outputTokens = random.magnitude(20, 3_000)
  const cachedTokens = promptTokens > 256 && random.chance(0.4) ? random.shareOf(promptTokens, 0.3, 0.9) : 0
  const reasons = model.startsWith('openai/')
  const promptSeconds = promptTokens / 40_000
  const completionSeconds = outputTokens / 900
  const usage = {
    queue_time: random.whole(10, 400) / 10_000,
    prompt_tokens: promptTokens,
    prompt_time: promptSeconds,
    completion_tokens: outputTokens,
    completion_time: completionSeconds,
    total_tokens: promptTokens + outputTokens,
    total_time: promptSeconds + completionSeconds,
    ...(cachedTokens > 0 ? { prompt_tokens_details: { cached_tokens: cachedTokens } } : {}),
    ...(reasons ? { completion_tokens_details: { reasoning_tokens: random.shareOf(outputTokens, 0.1, 0.6) } } : {}),
  } satisfies Groq.CompletionUsage
  return { providerUsage: usage, promptTokens, outputTokens, webSearches: 0 }
}
