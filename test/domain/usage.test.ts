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
import { checkUsage, normalizeProviderUsage, UsageError, type Usage } from '../../src/domain/usage/index.ts'

// `satisfies` holds each sample to the provider's own type, so that a new release of its SDK that changes a name
// fails the type check.

function pointerOf(raw: unknown): string {
  try {
    normalizeProviderUsage(raw)
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
  t.same(normalizeProviderUsage(openAiChat), {
    input_tokens: 12_362,
    cache_read_tokens: 4_096,
    cache_write_tokens: 1_000,
    audio_input_tokens: 0,
    output_tokens: 640,
    reasoning_tokens: 384,
    audio_output_tokens: 0,
  })
  t.same(normalizeProviderUsage({ prompt_tokens: 8, total_tokens: 8 }), { input_tokens: 8 }, 'embeddings')
})

t.test('OpenAI chat: the body and the last chunk of a stream bring the tier along', async (t) => {
  const expected = { ...normalizeProviderUsage(openAiChat), service_tier: 'flex' }
  const chunk = {
    id: 'chatcmpl-1',
    created: 1_795_600_000,
    model: 'gpt-6.1-sol',
    object: 'chat.completion.chunk',
    choices: [],
    service_tier: 'flex',
    usage: openAiChat,
  } satisfies ChatCompletionChunk
  t.same(normalizeProviderUsage(chunk), expected)
  t.equal(normalizeProviderUsage({ ...chunk, service_tier: 'default' }).service_tier, 'standard')
  t.equal(normalizeProviderUsage({ ...chunk, service_tier: 'scale' }).service_tier, 'standard')
  t.notOk('service_tier' in normalizeProviderUsage({ ...chunk, service_tier: 'auto' }), 'auto says what was asked for')
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
  t.same(normalizeProviderUsage(usage), expected)
  const chunk = {
    id: 'chatcmpl-1',
    created: 1_795_600_000,
    model: 'openai/gpt-oss-20b',
    object: 'chat.completion.chunk',
    choices: [],
    x_groq: { id: 'req_1', usage },
  } satisfies GroqChunk
  t.same(normalizeProviderUsage(chunk), expected)
  const body = { usage, x_groq: { id: 'req_1', usage: { dram_cached_tokens: 64 } }, service_tier: 'on_demand' }
  t.same(normalizeProviderUsage(body), { ...expected, service_tier: 'standard' })
})

t.test('gateways: models of others in the OpenAI form are read as that form, once', async (t) => {
  const litellm = {
    prompt_tokens: 1_300,
    completion_tokens: 10,
    total_tokens: 1_310,
    prompt_tokens_details: { cached_tokens: 200 },
    cache_creation_input_tokens: 100,
    cache_read_input_tokens: 200,
  }
  t.same(normalizeProviderUsage(litellm), {
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
  t.same(normalizeProviderUsage(deepSeek), { input_tokens: 50, cache_read_tokens: 30, output_tokens: 5 })
  const xAi = {
    prompt_tokens: 100,
    completion_tokens: 20,
    total_tokens: 420,
    completion_tokens_details: { reasoning_tokens: 300 },
  }
  t.same(
    normalizeProviderUsage(xAi),
    { input_tokens: 100, output_tokens: 320, reasoning_tokens: 300 },
    'reasoning on top',
  )
})

t.test('audio from the cache counts in the cache: as little of it as the totals allow', async (t) => {
  const usage = (cached: number, audio: number) =>
    normalizeProviderUsage({
      prompt_tokens: 1_000,
      completion_tokens: 0,
      prompt_tokens_details: { cached_tokens: cached, audio_tokens: audio },
    })
  t.same(usage(400, 500), { input_tokens: 1_000, cache_read_tokens: 400, audio_input_tokens: 500, output_tokens: 0 })
  t.same(usage(600, 500), {
    input_tokens: 1_000,
    cache_read_tokens: 600,
    audio_input_tokens: 400,
    cache_read_audio_tokens: 100,
    output_tokens: 0,
  })
})

t.test('OpenAI responses: input includes the cache; twelve-hour writes and web searches are taken over', async (t) => {
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
  t.same(normalizeProviderUsage(usage), expected)
  const response = {
    object: 'response',
    usage,
    service_tier: 'priority',
    tool_usage: { web_search: { num_requests: 3 } },
  } satisfies Partial<Omit<Response, 'tool_usage'>> & { tool_usage: Partial<Response.ToolUsage> }
  t.same(normalizeProviderUsage(response), { ...expected, service_tier: 'priority', web_searches: 3 })
  const event = { type: 'response.completed', sequence_number: 9, response } satisfies Omit<
    ResponseCompletedEvent,
    'response'
  > & { response: object }
  t.same(normalizeProviderUsage(event), { ...expected, service_tier: 'priority', web_searches: 3 })
})

t.test('OpenAI realtime and images: audio and images are told apart, cached or not', async (t) => {
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
  t.same(normalizeProviderUsage({ type: 'response.done', response: { usage: realtime } }), {
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
  t.same(normalizeProviderUsage(image), {
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
  t.same(normalizeProviderUsage(anthropic), expected)
  const message = { type: 'message', role: 'assistant', usage: anthropic } satisfies Partial<Message>
  t.same(normalizeProviderUsage(message), expected)
  const splitOnly = { ...anthropic, cache_creation_input_tokens: null }
  t.same(normalizeProviderUsage(splitOnly), expected, 'the split by time to live, where the total is missing')
})

t.test('Anthropic: tier, fast mode and region are what was served', async (t) => {
  t.equal(normalizeProviderUsage({ ...anthropic, service_tier: 'batch' }).service_tier, 'batch')
  t.equal(normalizeProviderUsage({ ...anthropic, speed: 'fast' }).service_tier, 'fast')
  t.equal(normalizeProviderUsage({ ...anthropic, inference_geo: 'us' }).region, 'us')
  t.notOk('region' in normalizeProviderUsage({ ...anthropic, inference_geo: 'global' }))
})

t.test('Anthropic: the last delta of a stream is cumulative, and alone the usage', async (t) => {
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
  t.same(normalizeProviderUsage(delta), {
    input_tokens: 4_100,
    cache_read_tokens: 4_000,
    cache_write_tokens: 0,
    output_tokens: 640,
  })
  t.equal(pointerOf({ type: 'message_delta', usage: { ...usage, input_tokens: null } }), '/usage/input_tokens')
})

t.test('Anthropic: what a compaction used is added, other turns are in the totals already', async (t) => {
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
  const { input_tokens, cache_read_tokens, cache_write_tokens, output_tokens } = normalizeProviderUsage(usage)
  t.same([input_tokens, cache_read_tokens, cache_write_tokens, output_tokens], [5_133, 4_020, 1_010, 644])
})

t.test('plain input and output tokens mean the same in both forms that write them', async (t) => {
  t.same(normalizeProviderUsage({ input_tokens: 10, output_tokens: 2 }), { input_tokens: 10, output_tokens: 2 })
})

t.test('Gemini: thoughts on top as output, tool use on top as input', async (t) => {
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
  t.same(normalizeProviderUsage(usage), expected)
  const response = {
    candidates: [],
    usageMetadata: usage,
    modelVersion: 'gemini-3.8-flash',
  } satisfies Partial<GenerateContentResponse>
  t.same(normalizeProviderUsage(response), expected)
  const python = {
    prompt_token_count: 1_000,
    cached_content_token_count: 300,
    candidates_token_count: 50,
    thoughts_token_count: 400,
    tool_use_prompt_token_count: 80,
    total_token_count: 1_530,
  }
  t.same(normalizeProviderUsage({ usage_metadata: python }), expected, 'as its Python client writes it')
  t.same(normalizeProviderUsage({ promptTokenCount: 5, totalTokenCount: 5 }), { input_tokens: 5 }, 'zeros are left out')
})

t.test('Gemini: modalities are told apart, cached or not; tier and traffic are taken over', async (t) => {
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
  t.same(normalizeProviderUsage(usage), {
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
  t.same(normalizeProviderUsage(live), { input_tokens: 10, output_tokens: 20, service_tier: 'priority' })
})

t.test('Gemini interactions: thoughts and tool use on top, unless the total has them inside', async (t) => {
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
  t.same(normalizeProviderUsage(usage), expected)
  const event = { event_type: 'interaction.completed', interaction: { id: 'i-1', usage, service_tier: 'flex' } }
  t.same(normalizeProviderUsage(event), { ...expected, service_tier: 'flex' })
  const inside = { total_input_tokens: 10, total_output_tokens: 50, total_thought_tokens: 40, total_tokens: 60 }
  t.same(normalizeProviderUsage(inside), { input_tokens: 10, output_tokens: 50, reasoning_tokens: 40 })
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
    // What the provider itself said, in whatever form: not counted again.
    raw: { prompt_tokens: 1_000, completion_tokens: 80 },
  } satisfies LanguageModelUsage
  t.same(normalizeProviderUsage(usage), expected)
  const finish = { type: 'finish', finishReason: 'stop', rawFinishReason: 'stop', totalUsage: usage } satisfies Finish
  t.same(normalizeProviderUsage(finish), expected)
  const lastStep = { inputTokens: 1, outputTokens: 1 }
  t.same(normalizeProviderUsage({ usage: lastStep, totalUsage: usage }), expected, 'the total of all steps')
  t.same(normalizeProviderUsage({ type: 'finish-step', finishReason: 'stop', usage }), expected, 'one step of a stream')
  const unsaid = {
    inputTokens: 10,
    inputTokenDetails: { noCacheTokens: undefined, cacheReadTokens: undefined, cacheWriteTokens: undefined },
    outputTokens: 3,
    outputTokenDetails: { textTokens: undefined, reasoningTokens: undefined },
    totalTokens: 13,
  } satisfies LanguageModelUsage
  t.same(normalizeProviderUsage(unsaid), { input_tokens: 10, output_tokens: 3 }, 'what the provider does not say')
  const inner = {
    inputTokens: { total: 1_000, noCache: 500, cacheRead: 300, cacheWrite: 200 },
    outputTokens: { total: 80, text: 50, reasoning: 30 },
  }
  t.same(normalizeProviderUsage(inner), expected)
  const before = {
    inputTokens: 1_000,
    outputTokens: 80,
    totalTokens: 1_080,
    cachedInputTokens: 300,
    reasoningTokens: 30,
  }
  t.same(normalizeProviderUsage(before), {
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
  t.same(normalizeProviderUsage({ output: {}, usage }), {
    input_tokens: 1_400,
    cache_read_tokens: 1_000,
    cache_write_tokens: 300,
    cache_write_1h_tokens: 200,
    output_tokens: 20,
  })
})

t.test('our own normal form is taken as it is', async (t) => {
  const usage: Usage = {
    input_tokens: 10,
    cache_read_tokens: 5,
    output_tokens: 1,
    web_searches: 1,
    service_tier: 'batch',
  }
  t.same(normalizeProviderUsage(usage), usage)
  t.equal(pointerOf({ usage: { input_tokens: 1, cache_read_tokens: 2 } }), '/usage/cache_read_tokens')
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
    [{ prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 11 } }, '/prompt_tokens_details/cached_tokens'],
    [
      { usage: { prompt_tokens: 10, prompt_tokens_details: { audio_tokens: 11 } } },
      '/usage/prompt_tokens_details/audio_tokens',
    ],
    [
      { prompt_tokens: 1, completion_tokens: 1, completion_tokens_details: { reasoning_tokens: 2 } },
      '/completion_tokens_details/reasoning_tokens',
    ],
    [{ input_tokens: 5, input_tokens_details: { cached_tokens: 6 } }, '/input_tokens_details/cached_tokens'],
    [
      { ...anthropic, cache_creation: { ephemeral_1h_input_tokens: 1_001 } },
      '/cache_creation/ephemeral_1h_input_tokens',
    ],
    [{ ...anthropic, iterations: 'many' }, '/iterations'],
    [{ ...anthropic, iterations: [3] }, '/iterations/0'],
    [{ promptTokenCount: 5, cachedContentTokenCount: 6 }, '/cachedContentTokenCount'],
    [
      { promptTokenCount: 5, promptTokensDetails: [{ modality: 'AUDIO', tokenCount: 'x' }] },
      '/promptTokensDetails/0/tokenCount',
    ],
    [{ inputTokens: 5, inputTokenDetails: { cacheReadTokens: 6 } }, '/inputTokenDetails/cacheReadTokens'],
    [{ inputTokens: 5, inputTokenDetails: { noCacheTokens: 6 } }, '/inputTokenDetails/noCacheTokens'],
    [{ inputTokens: 5, outputTokens: 1, outputTokenDetails: { textTokens: 2 } }, '/outputTokenDetails/textTokens'],
    [{ inputTokens: { total: 5, noCache: 6 } }, '/inputTokens/noCache'],
    [
      { inputTokens: 5, outputTokens: 1, outputTokenDetails: { reasoningTokens: 2 } },
      '/outputTokenDetails/reasoningTokens',
    ],
    [{ ...openAiChat, service_tier: 3 }, '/service_tier'],
  ]
  for (const [raw, pointer] of cases) t.equal(pointerOf(raw), pointer, JSON.stringify(raw))
})

t.test('a plain usage is held to its rules', async (t) => {
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
  const steps = [
    { input_tokens: 4, cache_read_tokens: 4 },
    { input_tokens: 6, output_tokens: null },
  ]
  const summed = { input_tokens: 10, cache_read_tokens: 4, requests: 2 }
  t.same(checkUsage({ ...summed, steps }), { ...summed, steps: [steps[0], { input_tokens: 6 }] })
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
    [{ ...summed, steps: {} }, '/steps'],
    [{ ...summed, steps: [] }, '/steps'],
    [{ steps: Array.from({ length: 101 }, () => ({})) }, '/steps'],
    [{ ...summed, steps: [...steps, 7] }, '/steps/2'],
    [{ ...summed, steps: [...steps, { requests: 1 }] }, '/steps/2/requests'],
    [{ ...summed, steps: [...steps, { service_tier: 'fast' }] }, '/steps/2/service_tier'],
    [{ ...summed, steps: [{ ...summed, steps }] }, '/steps/0/requests'],
    [{ ...summed, steps: [{ input_tokens: 1, cache_read_tokens: 2 }] }, '/steps/0/cache_read_tokens'],
    [{ ...summed, input_tokens: 11, steps }, '/input_tokens'],
    [{ ...summed, output_tokens: 1, steps }, '/output_tokens'],
  ]
  for (const [raw, pointer] of cases) {
    t.throws(() => checkUsage(raw), { name: 'UsageError', pointer }, JSON.stringify(raw))
  }
})
