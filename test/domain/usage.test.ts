import type { BetaUsage } from '@anthropic-ai/sdk/resources/beta/messages/messages'
import type {
  Message,
  MessageDeltaUsage,
  RawMessageDeltaEvent,
  Usage as AnthropicUsage,
} from '@anthropic-ai/sdk/resources/messages/messages'
import type {
  GenerateContentResponse,
  GenerateContentResponseUsageMetadata,
  Interactions,
  UsageMetadata,
} from '@google/genai'
import type { LanguageModelUsage, TextStreamPart, ToolSet } from 'ai'
import type { ChatCompletionChunk as GroqChunk } from 'groq-sdk/resources/chat/completions'
import type { CompletionUsage as GroqUsage } from 'groq-sdk/resources/completions'
import type { ChatCompletionChunk } from 'openai/resources/chat/completions'
import type { CompletionUsage } from 'openai/resources/completions'
import type { Response, ResponseCompletedEvent, ResponseUsage } from 'openai/resources/responses/responses'
import t from 'tap'
import {
  checkUsage,
  readProviderUsage,
  UsageError,
  type Usage,
  type UsageSource,
} from '../../src/domain/usage/index.ts'

// `satisfies` checks each sample against the provider's own type, so that a new SDK release that renames a field
// fails the type check.

const openai = { provider: 'openai', model: 'gpt-6.1-sol' }
const claude = { provider: 'anthropic', model: 'claude-opus-5-5' }
const google = { provider: 'google', model: 'gemini-3.8-flash' }
const aws = { provider: 'aws', model: 'global.anthropic.claude-opus-5-5' }

function usageOf(raw: unknown, source: UsageSource): Usage {
  return readProviderUsage(raw, source).usage
}

function pointerOf(raw: unknown, source: UsageSource): string {
  try {
    readProviderUsage(raw, source)
  } catch (error) {
    if (error instanceof UsageError) return error.pointer
    throw error
  }
  throw new Error('was taken')
}

const openAiChat = {
  prompt_tokens: 12_362,
  completion_tokens: 640,
  total_tokens: 13_002,
  prompt_tokens_details: { cached_tokens: 4_096, cache_write_tokens: 1_000, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 384, audio_tokens: 0, accepted_prediction_tokens: 0 },
} satisfies CompletionUsage

t.test('OpenAI chat: the prompt includes the cache, the completion includes reasoning', async (t) => {
  t.same(usageOf(openAiChat, openai), {
    input_tokens: 12_362,
    cache_read_tokens: 4_096,
    cache_write_tokens: 1_000,
    audio_input_tokens: 0,
    output_tokens: 640,
    reasoning_tokens: 384,
    audio_output_tokens: 0,
  })
  t.same(usageOf({ prompt_tokens: 8, total_tokens: 8 }, openai), { input_tokens: 8 }, 'embeddings')
})

t.test('OpenAI chat: the tier is read from the body and the last chunk of a stream', async (t) => {
  const expected = { ...usageOf(openAiChat, openai), service_tier: 'flex' }
  const chunk = {
    id: 'chatcmpl-1',
    created: 1_795_600_000,
    model: 'gpt-6.1-sol',
    object: 'chat.completion.chunk',
    choices: [],
    service_tier: 'flex',
    usage: openAiChat,
  } satisfies ChatCompletionChunk
  t.same(usageOf(chunk, openai), expected)
  t.equal(usageOf({ ...chunk, service_tier: 'default' }, openai).service_tier, 'standard')
  t.equal(usageOf({ ...chunk, service_tier: 'scale' }, openai).service_tier, 'scale', 'no tier is mistaken for another')
  t.notOk(
    'service_tier' in usageOf({ ...chunk, service_tier: 'auto' }, openai),
    'auto is the requested tier, not the served one',
  )
})

t.test('Groq: as OpenAI chat, also under x_groq in the last chunk', async (t) => {
  const usage = {
    prompt_tokens: 100,
    completion_tokens: 20,
    total_tokens: 120,
    queue_time: 0.02,
    total_time: 0.05,
    prompt_tokens_details: { cached_tokens: 64 },
    completion_tokens_details: null,
  } satisfies GroqUsage
  const expected = { input_tokens: 100, cache_read_tokens: 64, output_tokens: 20 }
  t.same(usageOf(usage, openai), expected)
  const chunk = {
    id: 'chatcmpl-1',
    created: 1_795_600_000,
    model: 'openai/gpt-oss-20b',
    object: 'chat.completion.chunk',
    choices: [],
    x_groq: { id: 'req_1', usage },
  } satisfies GroqChunk
  t.same(usageOf(chunk, openai), expected)
  const body = { usage, x_groq: { id: 'req_1', usage: { dram_cached_tokens: 64 } }, service_tier: 'on_demand' }
  t.same(usageOf(body, openai), { ...expected, service_tier: 'standard' })
})

t.test("gateways: other makers' models in the OpenAI form are read as that form", async (t) => {
  const litellm = {
    prompt_tokens: 1_300,
    completion_tokens: 10,
    total_tokens: 1_310,
    prompt_tokens_details: { cached_tokens: 200 },
    cache_creation_input_tokens: 100,
    cache_read_input_tokens: 200,
  }
  t.same(usageOf(litellm, openai), {
    input_tokens: 1_300,
    cache_read_tokens: 200,
    cache_write_tokens: 100,
    output_tokens: 10,
  })
  const deepSeek = {
    prompt_tokens: 50,
    completion_tokens: 5,
    prompt_cache_hit_tokens: 30,
    prompt_cache_miss_tokens: 20,
  }
  t.same(usageOf(deepSeek, openai), { input_tokens: 50, cache_read_tokens: 30, output_tokens: 5 })
  const xAi = {
    prompt_tokens: 100,
    completion_tokens: 20,
    total_tokens: 420,
    completion_tokens_details: { reasoning_tokens: 300 },
  }
  t.same(usageOf(xAi, openai), { input_tokens: 100, output_tokens: 320, reasoning_tokens: 300 }, 'reasoning on top')
})

t.test('audio counts as cached only as far as the totals require', async (t) => {
  const usage = (cached: number, audio: number) =>
    usageOf(
      {
        prompt_tokens: 1_000,
        completion_tokens: 0,
        prompt_tokens_details: { cached_tokens: cached, audio_tokens: audio },
      },
      openai,
    )
  t.same(usage(400, 500), { input_tokens: 1_000, cache_read_tokens: 400, audio_input_tokens: 500, output_tokens: 0 })
  t.same(usage(600, 500), {
    input_tokens: 1_000,
    cache_read_tokens: 600,
    audio_input_tokens: 400,
    cache_read_audio_tokens: 100,
    output_tokens: 0,
  })
})

t.test('OpenAI responses: input includes the cache; twelve-hour writes and web searches are read', async (t) => {
  const usage = {
    input_tokens: 5_000,
    input_tokens_details: {
      cached_tokens: 1_024,
      cache_write_tokens: 600,
      cache_write_tokens_details: { ttl_12h_tokens: 200, ttl_30m_tokens: 400 },
    },
    output_tokens: 300,
    output_tokens_details: { reasoning_tokens: 250 },
    total_tokens: 5_300,
  } satisfies ResponseUsage
  const expected: Usage = {
    input_tokens: 5_000,
    cache_read_tokens: 1_024,
    cache_write_tokens: 600,
    cache_write_12h_tokens: 200,
    output_tokens: 300,
    reasoning_tokens: 250,
  }
  t.same(usageOf(usage, openai), expected)
  const response = {
    object: 'response',
    usage,
    service_tier: 'priority',
    tool_usage: { web_search: { num_requests: 3 } },
  } satisfies Partial<Omit<Response, 'tool_usage'>> & { tool_usage: Partial<Response.ToolUsage> }
  t.same(usageOf(response, openai), { ...expected, service_tier: 'priority', web_searches: 3 })
  const event = { type: 'response.completed', sequence_number: 9, response } satisfies Omit<
    ResponseCompletedEvent,
    'response'
  > & { response: object }
  t.same(usageOf(event, openai), { ...expected, service_tier: 'priority', web_searches: 3 })
})

t.test('OpenAI realtime and images: audio and images are separated, cached or not', async (t) => {
  const realtime = {
    input_tokens: 500,
    output_tokens: 200,
    input_token_details: {
      text_tokens: 300,
      audio_tokens: 200,
      cached_tokens: 120,
      cached_tokens_details: { text_tokens: 64, audio_tokens: 56 },
    },
    output_token_details: { text_tokens: 50, audio_tokens: 150 },
  }
  t.same(usageOf({ type: 'response.done', response: { usage: realtime } }, openai), {
    input_tokens: 500,
    cache_read_tokens: 120,
    audio_input_tokens: 144,
    cache_read_audio_tokens: 56,
    output_tokens: 200,
    audio_output_tokens: 150,
  })
  const image = {
    input_tokens: 90,
    input_tokens_details: { text_tokens: 10, image_tokens: 80 },
    output_tokens: 4_160,
    output_tokens_details: { text_tokens: 60, image_tokens: 4_100 },
  }
  t.same(usageOf(image, openai), {
    input_tokens: 90,
    image_input_tokens: 80,
    output_tokens: 4_160,
    image_output_tokens: 4_100,
  })
})

const anthropic = {
  input_tokens: 100,
  cache_creation_input_tokens: 1_000,
  cache_read_input_tokens: 4_000,
  cache_creation: { ephemeral_5m_input_tokens: 800, ephemeral_1h_input_tokens: 200 },
  output_tokens: 640,
  output_tokens_details: { thinking_tokens: 512 },
  server_tool_use: { web_search_requests: 2, web_fetch_requests: 1 },
  service_tier: 'standard',
  speed: null,
  inference_geo: 'not_available',
} satisfies AnthropicUsage

t.test('Anthropic: the cache comes on top of input_tokens', async (t) => {
  const expected: Usage = {
    input_tokens: 5_100,
    cache_read_tokens: 4_000,
    cache_write_tokens: 1_000,
    cache_write_1h_tokens: 200,
    output_tokens: 640,
    reasoning_tokens: 512,
    web_searches: 2,
    service_tier: 'standard',
  }
  t.same(usageOf(anthropic, claude), expected)
  const message = { type: 'message', role: 'assistant', usage: anthropic } satisfies Partial<Message>
  t.same(usageOf(message, claude), expected)
  const splitOnly = { ...anthropic, cache_creation_input_tokens: null }
  t.same(usageOf(splitOnly, claude), expected, 'the split by lifetime counts if the total is missing')
})

t.test('Anthropic: tier, fast mode and region are read as served', async (t) => {
  t.equal(usageOf({ ...anthropic, service_tier: 'batch' }, claude).service_tier, 'batch')
  t.equal(usageOf({ ...anthropic, speed: 'fast' }, claude).service_tier, 'fast')
  t.equal(usageOf({ ...anthropic, inference_geo: 'us' }, claude).region, 'us')
  t.notOk('region' in usageOf({ ...anthropic, inference_geo: 'global' }, claude))
})

t.test('Anthropic: the last delta of a stream is cumulative and is the whole usage', async (t) => {
  const usage = {
    input_tokens: 100,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 4_000,
    output_tokens: 640,
    output_tokens_details: null,
    server_tool_use: null,
  } satisfies MessageDeltaUsage
  const delta = {
    type: 'message_delta',
    delta: { container: null, stop_details: null, stop_reason: 'end_turn', stop_sequence: null },
    usage,
  } satisfies RawMessageDeltaEvent
  t.same(usageOf(delta, claude), {
    input_tokens: 4_100,
    cache_read_tokens: 4_000,
    cache_write_tokens: 0,
    cache_write_1h_tokens: 0,
    output_tokens: 640,
  })
  t.equal(pointerOf({ type: 'message_delta', usage: { ...usage, input_tokens: null } }, claude), '/usage/input_tokens')
})

t.test('Anthropic: tokens of a compaction are added; the totals already contain other iterations', async (t) => {
  const tokens = {
    cache_creation: null,
    cache_creation_input_tokens: 10,
    cache_read_input_tokens: 20,
    input_tokens: 3,
    output_tokens: 4,
  }
  const usage = {
    ...anthropic,
    fallback_credit: null,
    iterations: [
      { ...tokens, type: 'compaction' },
      { ...tokens, type: 'message', model: 'claude-opus-5-5' },
    ],
  } satisfies BetaUsage
  const { input_tokens, cache_read_tokens, cache_write_tokens, output_tokens } = usageOf(usage, claude)
  t.same([input_tokens, cache_read_tokens, cache_write_tokens, output_tokens], [5_133, 4_020, 1_010, 644])
})

t.test('plain input and output tokens mean the same in both forms that write them', async (t) => {
  t.same(usageOf({ input_tokens: 10, output_tokens: 2 }, openai), { input_tokens: 10, output_tokens: 2 })
})

t.test('Gemini: thoughts are added to the output, tool use to the input', async (t) => {
  const usage = {
    promptTokenCount: 1_000,
    cachedContentTokenCount: 300,
    candidatesTokenCount: 50,
    thoughtsTokenCount: 400,
    toolUsePromptTokenCount: 80,
    totalTokenCount: 1_530,
    promptTokensDetails: [{ modality: 'TEXT' as never, tokenCount: 1_000 }],
  } satisfies GenerateContentResponseUsageMetadata
  const expected: Usage = {
    input_tokens: 1_080,
    cache_read_tokens: 300,
    output_tokens: 450,
    reasoning_tokens: 400,
  }
  t.same(usageOf(usage, google), expected)
  const response = {
    candidates: [],
    usageMetadata: usage,
    modelVersion: 'gemini-3.8-flash',
  } satisfies Partial<GenerateContentResponse>
  t.same(usageOf(response, google), expected)
  const python = {
    prompt_token_count: 1_000,
    cached_content_token_count: 300,
    candidates_token_count: 50,
    thoughts_token_count: 400,
    tool_use_prompt_token_count: 80,
    total_token_count: 1_530,
  }
  t.same(usageOf({ usage_metadata: python }, google), expected, 'the form of the Python client')
  t.same(usageOf({ promptTokenCount: 5, totalTokenCount: 5 }, google), { input_tokens: 5 }, 'zeros may be omitted')
})

t.test('Gemini: modalities are separated, cached or not; tier and traffic type are read', async (t) => {
  const usage = {
    promptTokenCount: 1_000,
    cachedContentTokenCount: 400,
    promptTokensDetails: [
      { modality: 'TEXT', tokenCount: 500 },
      { modality: 'AUDIO', tokenCount: 300 },
      { modality: 'IMAGE', tokenCount: 120 },
      { modality: 'DOCUMENT', tokenCount: 60 },
      { modality: 'VIDEO', tokenCount: 20 },
    ],
    cacheTokensDetails: [
      { modality: 'TEXT', tokenCount: 250 },
      { modality: 'AUDIO', tokenCount: 150 },
    ],
    candidatesTokenCount: 1_300,
    candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: 1_290 }],
    trafficType: 'ON_DEMAND_FLEX',
  }
  t.same(usageOf(usage, google), {
    input_tokens: 1_000,
    cache_read_tokens: 400,
    audio_input_tokens: 150,
    cache_read_audio_tokens: 150,
    image_input_tokens: 180,
    video_input_tokens: 20,
    output_tokens: 1_300,
    image_output_tokens: 1_290,
    service_tier: 'flex',
  })
  const live = {
    promptTokenCount: 10,
    responseTokenCount: 20,
    serviceTier: 'priority' as never,
  } satisfies UsageMetadata
  t.same(usageOf(live, google), { input_tokens: 10, output_tokens: 20, service_tier: 'priority' })
})

t.test('Gemini interactions: thoughts and tool use are added, unless the total shows them inside', async (t) => {
  const usage = {
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
    grounding_tool_count: [
      { type: 'google_search', count: 2 },
      { type: 'google_maps', count: 7 },
    ],
  } satisfies Interactions.Usage
  const expected: Usage = {
    input_tokens: 1_080,
    cache_read_tokens: 200,
    audio_input_tokens: 180,
    cache_read_audio_tokens: 120,
    output_tokens: 450,
    reasoning_tokens: 400,
    web_searches: 2,
  }
  t.same(usageOf(usage, google), expected)
  const event = { event_type: 'interaction.completed', interaction: { id: 'i-1', usage, service_tier: 'flex' } }
  t.same(usageOf(event, google), { ...expected, service_tier: 'flex' })
  const inside = { total_input_tokens: 10, total_output_tokens: 50, total_thought_tokens: 40, total_tokens: 60 }
  t.same(usageOf(inside, google), { input_tokens: 10, output_tokens: 50, reasoning_tokens: 40 })
})

type Finish = Extract<TextStreamPart<ToolSet>, { type: 'finish' }>

t.test('Vercel: input includes the cache, output includes reasoning, in all its versions', async (t) => {
  const expected: Usage = {
    input_tokens: 1_000,
    cache_read_tokens: 300,
    cache_write_tokens: 200,
    output_tokens: 80,
    reasoning_tokens: 30,
  }
  const usage = {
    inputTokens: 1_000,
    inputTokenDetails: { noCacheTokens: 500, cacheReadTokens: 300, cacheWriteTokens: 200 },
    outputTokens: 80,
    outputTokenDetails: { textTokens: 50, reasoningTokens: 30 },
    totalTokens: 1_080,
    // The provider's own usage, of any form, is not counted again.
    raw: { prompt_tokens: 1_000, completion_tokens: 80 },
  } satisfies LanguageModelUsage
  t.same(usageOf(usage, openai), expected)
  const finish = { type: 'finish', finishReason: 'stop', rawFinishReason: 'stop', totalUsage: usage } satisfies Finish
  t.same(usageOf(finish, openai), expected)
  const lastStep = { inputTokens: 1, outputTokens: 1 }
  t.same(usageOf({ usage: lastStep, totalUsage: usage }, openai), expected, 'the total of all steps')
  t.same(usageOf({ type: 'finish-step', finishReason: 'stop', usage }, openai), expected, 'one step of a stream')
  const bare = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 500 }
  t.match(usageOf(bare, openai), { input_tokens: 0, output_tokens: 500 }, 'a total without parts is not free')
  t.same(notesOf(bare, openai), ['usage_total_differs /total_tokens'])
  const unsaid = {
    inputTokens: 10,
    inputTokenDetails: { noCacheTokens: undefined, cacheReadTokens: undefined, cacheWriteTokens: undefined },
    outputTokens: 3,
    outputTokenDetails: { textTokens: undefined, reasoningTokens: undefined },
    totalTokens: 13,
  } satisfies LanguageModelUsage
  t.same(
    usageOf(unsaid, openai),
    { input_tokens: 10, output_tokens: 3 },
    'counts that the provider does not report are undefined',
  )
  const inner = {
    inputTokens: { total: 1_000, noCache: 500, cacheRead: 300, cacheWrite: 200 },
    outputTokens: { total: 80, text: 50, reasoning: 30 },
  }
  t.same(usageOf(inner, openai), expected)
  const before = {
    inputTokens: 1_000,
    outputTokens: 80,
    totalTokens: 1_080,
    cachedInputTokens: 300,
    reasoningTokens: 30,
  }
  t.same(usageOf(before, openai), {
    input_tokens: 1_000,
    cache_read_tokens: 300,
    output_tokens: 80,
    reasoning_tokens: 30,
  })
})

t.test('Bedrock: the cache comes on top of inputTokens', async (t) => {
  const usage = {
    inputTokens: 100,
    outputTokens: 20,
    totalTokens: 1_420,
    cacheReadInputTokens: 1_000,
    cacheWriteInputTokens: 300,
    cacheDetails: [
      { ttl: '1h', inputTokens: 200 },
      { ttl: '5m', inputTokens: 100 },
    ],
  }
  t.same(usageOf({ output: {}, usage }, aws), {
    input_tokens: 1_400,
    cache_read_tokens: 1_000,
    cache_write_tokens: 300,
    cache_write_1h_tokens: 200,
    output_tokens: 20,
  })
})

t.test('our own normal form is read unchanged', async (t) => {
  const usage: Usage = {
    input_tokens: 10,
    cache_read_tokens: 5,
    output_tokens: 1,
    web_searches: 1,
    service_tier: 'batch',
  }
  t.same(usageOf(usage, openai), usage)
  t.equal(pointerOf({ usage: { input_tokens: 1, cache_read_tokens: 2 } }, openai), '/usage/cache_read_tokens')
})

t.test('images written to the cache have the rate of cache writes', async (t) => {
  const details = { image_tokens: 600, cache_write_tokens: 600 }
  const raw = { prompt_tokens: 1_000, completion_tokens: 10, total_tokens: 1_010, prompt_tokens_details: details }
  t.match(usageOf(raw, openai), { input_tokens: 1_000, cache_write_tokens: 600, image_input_tokens: 400 })
})

t.test('a malformed usage is an error that points at the field', async (t) => {
  const cases: [unknown, string][] = [
    [null, ''],
    ['usage', ''],
    [[], ''],
    [{}, ''],
    [{ usage: null }, ''],
    [{ tokens: 5 }, ''],
    [{ ...openAiChat, prompt_tokens: '12' }, '/prompt_tokens'],
    [{ ...openAiChat, prompt_tokens: -1 }, '/prompt_tokens'],
    [{ ...openAiChat, prompt_tokens: 1.5 }, '/prompt_tokens'],
    [{ ...openAiChat, prompt_tokens: null }, '/prompt_tokens'],
    [{ ...openAiChat, prompt_tokens: 1e15 }, '/prompt_tokens'],
    [{ ...openAiChat, prompt_tokens_details: 7 }, '/prompt_tokens_details'],
    [{ input_tokens: 5, cache_read_tokens: 6 }, '/cache_read_tokens'],
    [
      { usage: { prompt_tokens: 10, prompt_tokens_details: { audio_tokens: 11 } } },
      '/usage/prompt_tokens_details/audio_tokens',
    ],
  ]
  for (const [raw, pointer] of cases) t.equal(pointerOf(raw, openai), pointer, JSON.stringify(raw))
  const ofClaude: [unknown, string][] = [
    [
      { ...anthropic, cache_creation: { ephemeral_1h_input_tokens: 1_001 } },
      '/cache_creation/ephemeral_1h_input_tokens',
    ],
    [{ ...anthropic, iterations: 'many' }, '/iterations'],
    [{ ...anthropic, iterations: [3] }, '/iterations/0'],
  ]
  for (const [raw, pointer] of ofClaude) t.equal(pointerOf(raw, claude), pointer, JSON.stringify(raw))
  const ofGemini: [unknown, string][] = [
    [{ promptTokenCount: 5, cachedContentTokenCount: 6 }, '/cachedContentTokenCount'],
    [
      { promptTokenCount: 5, promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 'x' }] },
      '/promptTokensDetails/0/tokenCount',
    ],
  ]
  for (const [raw, pointer] of ofGemini) t.equal(pointerOf(raw, google), pointer, JSON.stringify(raw))
})

const notesOf = (raw: unknown, source: UsageSource) =>
  readProviderUsage(raw, source).notes.map(({ code, pointer }) => `${code} ${pointer}`)

t.test('a form is recognised by its shape and the provider together', async (t) => {
  const gemini = { promptTokenCount: 5, candidatesTokenCount: 5, totalTokenCount: 10 }
  const converse = { inputTokens: 5, outputTokens: 5, totalTokens: 20, cacheReadInputTokens: 10 }
  const session = { inputTokens: 5, outputTokens: 5, cacheReadInputTokens: 10, cacheCreationInputTokens: 0, costUSD: 1 }
  const refused: [unknown, UsageSource, RegExp][] = [
    [gemini, openai, /Gemini's usageMetadata, which openai does not send/],
    [gemini, claude, /which anthropic does not send/],
    [anthropic, openai, /Anthropic's messages, which openai does not send/],
    [anthropic, { provider: 'groq', model: 'openai/gpt-oss-20b' }, /which groq does not send/],
    [converse, openai, /Bedrock's Converse, which openai does not send/],
    [session, openai, /modelUsage, which openai does not send/],
    [
      { input_tokens: 5, input_tokens_details: { cached_tokens: 1 } },
      claude,
      /Responses API, which anthropic does not/,
    ],
    [{ promptTokens: 5, completionTokens: 5 }, openai, /not a usage object of a known form/],
    [{ type: 'duration', seconds: 30 }, openai, /not a usage object of a known form/],
  ]
  for (const [raw, source, message] of refused)
    t.throws(() => readProviderUsage({ usage: raw }, source), { name: 'UsageError', message }, JSON.stringify(raw))
})

t.test('a total decides whether parts are inside or on top, and a total that fits neither is noted', async (t) => {
  const usage = (total: number, cached: number) => ({
    prompt_tokens: 100,
    completion_tokens: 20,
    total_tokens: total,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: 15 },
  })
  const counts = (total: number, cached: number) => {
    const { input_tokens, output_tokens } = usageOf(usage(total, cached), openai)
    return [input_tokens, output_tokens]
  }
  t.same(counts(120, 60), [100, 20], 'both are inside')
  t.same(counts(135, 60), [100, 35], 'reasoning on top')
  t.same(counts(180, 60), [160, 20], 'the cache on top')
  t.same(counts(195, 60), [160, 35], 'both on top')
  t.same(counts(420, 300), [400, 20], 'the cache can only be on top')
  t.same(notesOf(usage(180, 60), openai), [])
  t.same(counts(500, 60), [100, 20])
  t.same(notesOf(usage(500, 60), openai), ['usage_total_differs /total_tokens'])
  t.same(counts(500, 300), [400, 20], 'a part larger than its whole is on top')
  t.same(notesOf(usage(500, 300), openai), [
    'usage_total_differs /prompt_tokens_details/cached_tokens',
    'usage_total_differs /total_tokens',
  ])
  const unsaid = { prompt_tokens: 5, completion_tokens: 1, completion_tokens_details: { reasoning_tokens: 2 } }
  t.match(usageOf(unsaid, openai), { output_tokens: 3, reasoning_tokens: 2 })
  t.same(notesOf(unsaid, openai), ['usage_total_differs /completion_tokens_details/reasoning_tokens'])
})

t.test('remainders are checked, and counts that no provider charges for cause no warning', async (t) => {
  const sdk = { inputTokens: 5, outputTokens: 1, inputTokenDetails: { noCacheTokens: 6 } }
  t.same(notesOf(sdk, openai), ['usage_total_differs /inputTokenDetails/noCacheTokens'])
  t.same(notesOf({ inputTokens: { total: 5, noCache: 6 } }, openai), ['usage_total_differs /inputTokens/noCache'])
  const hits = { prompt_tokens: 50, completion_tokens: 5, prompt_cache_hit_tokens: 30, prompt_cache_miss_tokens: 19 }
  t.same(notesOf(hits, { provider: 'deepseek', model: 'deepseek-v4-pro' }), [
    'usage_total_differs /prompt_cache_miss_tokens',
  ])
  const twice = { ...openAiChat, cache_read_input_tokens: 5_000 }
  t.same(notesOf(twice, openai), ['usage_total_differs /cache_read_input_tokens'])
  t.equal(usageOf(twice, openai).cache_read_tokens, 5_000, 'of two different counts the larger one is used')
  t.same(notesOf({ ...openAiChat, queue_time: 0.3, total_time: 1.5 }, openai), [])
})

t.test('an unknown number causes a warning with its path, wherever it is in the usage', async (t) => {
  const body = { usage: { ...anthropic, server_tool_use: { web_search_requests: 0, code_runs: 3 } } }
  t.same(notesOf(body, claude), ['usage_unread /usage/server_tool_use/code_runs'])
  t.same(notesOf({ ...openAiChat, service_tier: 3 }, openai), ['usage_unread /service_tier'])
  t.same(notesOf({ ...openAiChat, extra: { 'a/b': ['7'] } }, openai), ['usage_unread /extra/a~1b/0'])
  t.same(notesOf({ usage: openAiChat, tool_usage: { shell: { runs: 2 } } }, openai), [
    'usage_unread /tool_usage/shell/runs',
  ])
  const advisor = { type: 'advisor_message', model: 'claude-opus-5-5', input_tokens: 9, output_tokens: 8 }
  t.same(notesOf({ ...anthropic, iterations: [advisor] }, claude), [
    'usage_unread /iterations/0/input_tokens',
    'usage_unread /iterations/0/output_tokens',
  ])
  const many = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`n${index}`, index]))
  t.equal(notesOf({ ...openAiChat, many }, openai).length, 20, 'at most 20 notes')
})

t.test("a tier keeps the provider's name, and no tier is mistaken for another", async (t) => {
  const tierOf = (tier: string) => usageOf({ ...openAiChat, service_tier: tier }, openai).service_tier
  t.same(['default', 'on_demand', 'STANDARD'].map(tierOf), ['standard', 'standard', 'standard'])
  t.same(['priority', 'fast', 'flex', 'batch'].map(tierOf), ['priority', 'fast', 'flex', 'batch'])
  t.same(['ultrafast', 'performance', 'region:us'].map(tierOf), ['ultrafast', 'performance', 'region_us'])
  const traffic = (trafficType: string) => usageOf({ promptTokenCount: 1, trafficType }, google).service_tier
  t.same(['ON_DEMAND', 'ON_DEMAND_PRIORITY', 'ON_DEMAND_FLEX'].map(traffic), ['standard', 'priority', 'flex'])
  t.equal(traffic('PROVISIONED_THROUGHPUT'), 'provisioned_throughput')
  const converse = { usage: { inputTokens: 1, cacheDetails: [] }, performanceConfig: { latency: 'optimized' } }
  t.equal(usageOf(converse, aws).service_tier, 'latency_optimized')
})

t.test('requests are separate if the usage lists them, otherwise it is flagged as several', async (t) => {
  const tokens = { cache_creation: null, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 }
  const compacted = {
    input_tokens: 1_000,
    output_tokens: 100,
    output_tokens_details: { thinking_tokens: 60 },
    iterations: [
      { ...tokens, type: 'compaction', input_tokens: 50_000, output_tokens: 2_000 },
      { ...tokens, type: 'message', input_tokens: 400, output_tokens: 70, model: null },
      { ...tokens, type: 'message', input_tokens: 600, output_tokens: 30, model: null },
    ],
  }
  t.same(usageOf(compacted, claude).steps, [
    { input_tokens: 50_000, output_tokens: 2_000 },
    { input_tokens: 400, output_tokens: 70, reasoning_tokens: 30 },
    { input_tokens: 600, output_tokens: 30, reasoning_tokens: 30 },
  ])
  t.same(notesOf({ ...compacted, input_tokens: 999 }, claude), ['usage_total_differs /iterations'])

  const step = (inputTokens: number) => ({ usage: { inputTokens, outputTokens: 10, totalTokens: inputTokens + 10 } })
  const totalUsage = { inputTokens: 300, outputTokens: 20, totalTokens: 320 }
  const result = readProviderUsage({ totalUsage, steps: [step(100), step(200)] }, openai)
  t.same(result.usage.steps, [
    { input_tokens: 100, output_tokens: 10 },
    { input_tokens: 200, output_tokens: 10 },
  ])
  t.same(notesOf({ totalUsage, steps: [step(100), step(201)] }, openai), ['usage_total_differs /totalUsage'])
  t.ok(readProviderUsage({ totalUsage }, openai).isAggregate)
  t.notOk(
    readProviderUsage({ totalUsage, usage: totalUsage }, openai).isAggregate,
    'a result with a single step is not an aggregate',
  )

  const long = { totalUsage: { ...totalUsage, inputTokens: 101, totalTokens: 121 } }
  const steps = Array.from({ length: 101 }, () => ({ usage: { inputTokens: 1, outputTokens: 0, totalTokens: 1 } }))
  long.totalUsage.outputTokens = 0
  long.totalUsage.totalTokens = 101
  t.match(
    usageOf({ ...long, steps }, openai),
    { input_tokens: 101, requests: 101, steps: undefined },
    'more than 100 steps are not kept',
  )
})

t.test('a usage whose steps do not add up to it cannot be read', async (t) => {
  const iteration = (type: string, inputTokens: number) => ({ type, input_tokens: inputTokens, output_tokens: 0 })
  const raw = {
    input_tokens: 1,
    output_tokens: 0,
    iterations: [iteration('compaction', 1_000_000), iteration('message', 1)],
  }
  const usage = { inputTokens: 1_000_001, outputTokens: 0, totalTokens: 1_000_001, raw }
  const few = readProviderUsage({ totalUsage: usage, steps: [{ usage }, { usage }] }, claude).usage
  t.match(few, { input_tokens: 2_000_002, requests: 4 }, 'a step may itself be several requests')
  t.equal(few.steps?.length, 4)
  const many = Array.from({ length: 60 }, () => ({ usage }))
  const sum = usageOf({ totalUsage: usage, steps: many }, claude)
  t.match(sum, { input_tokens: 60_000_060, requests: 120 })
  t.notOk('steps' in sum, 'more than 100 steps are not kept')
  const odd = {
    ...iteration('message', 1),
    cache_creation_input_tokens: 50,
    cache_creation: { ephemeral_1h_input_tokens: 100 },
  }
  const total = {
    input_tokens: 1,
    output_tokens: 0,
    cache_creation_input_tokens: 200,
    cache_creation: { ephemeral_1h_input_tokens: 100 },
  }
  t.throws(() => usageOf({ ...total, iterations: [odd] }, claude), { name: 'UsageError' })
})

t.test('steps served by several tiers are priced as the most expensive one, with a note', async (t) => {
  const step = (serviceTier: string) => ({
    usage: { inputTokens: 100, outputTokens: 10, totalTokens: 110 },
    providerMetadata: { openai: { serviceTier } },
  })
  const totalUsage = { inputTokens: 200, outputTokens: 20, totalTokens: 220 }
  for (const tiers of [
    ['default', 'priority'],
    ['priority', 'default'],
  ]) {
    const reading = readProviderUsage({ totalUsage, steps: tiers.map(step) }, openai)
    t.equal(reading.usage.service_tier, 'priority')
    t.equal(reading.notes.length, 1, tiers.join())
  }
  t.same(notesOf({ totalUsage, steps: [step('priority'), step('priority')] }, openai), [])
  t.equal(usageOf({ totalUsage: step('x').usage, steps: [step('priority')] }, openai).service_tier, 'priority', 'one')
  const odd = { totalUsage, steps: [step('default'), { usage: { outputTokens: 10 } }] }
  t.match(usageOf(odd, openai), { input_tokens: 200, output_tokens: 20 }, 'if a step cannot be read, the total is used')
  const extra = { ...step('default'), usage: { ...step('default').usage, mysteryTokens: 5 } }
  t.same(notesOf({ totalUsage, steps: [step('default'), extra] }, openai), [
    'usage_unread /steps/1/usage/mysteryTokens',
  ])
})

t.test('the notes stay small, even if the names in an object are very long', async (t) => {
  const long = 'x'.repeat(50_000)
  const [pointer = ''] = notesOf({ ...openAiChat, [long]: { [long]: 1 } }, openai)
  t.ok(pointer.length < 200, String(pointer.length))
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
  for (const name of names) t.type(usageOf({ ...openAiChat, service_tier: name }, openai).service_tier, 'string', name)
  for (const name of names) {
    const raw = JSON.parse(`{ "modelUsage": { "${name}": 1 }, "usage": { "prompt_tokens": 1, "${name}": 2 } }`)
    t.equal(usageOf(raw, { provider: 'openai', model: name }).input_tokens, 1, name)
  }
})

t.test('a plain usage is checked against the rules of normal form', async (t) => {
  const usage = {
    input_tokens: 10,
    output_tokens: 0,
    requests: 2,
    service_tier: 'fast',
    region: 'eu-west',
    cache_read_tokens: null,
  }
  t.same(checkUsage(usage), {
    input_tokens: 10,
    output_tokens: 0,
    requests: 2,
    service_tier: 'fast',
    region: 'eu-west',
  })
  t.same(checkUsage({}), {})
  const cases: [unknown, string][] = [
    [7, ''],
    [[], ''],
    [{ input_tokens: '7' }, '/input_tokens'],
    [{ output_tokens: 0.5 }, '/output_tokens'],
    [{ web_searches: -1 }, '/web_searches'],
    [{ prompt_tokens: 7 }, '/prompt_tokens'],
    [{ 'a/b~c': 7 }, '/a~1b~0c'],
    [{ service_tier: 'gold' }, '/service_tier'],
    [{ region: '' }, '/region'],
    [{ input_tokens: 1, audio_input_tokens: 2 }, '/audio_input_tokens'],
    [JSON.parse('{ "__proto__": 7 }'), '/__proto__'],
    [{ input_tokens: 1, steps: [{ input_tokens: 1 }] }, '/steps'],
  ]
  for (const [raw, pointer] of cases) {
    t.throws(() => checkUsage(raw), { name: 'UsageError', pointer }, JSON.stringify(raw))
  }
})
