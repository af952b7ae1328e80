import t from 'tap'
import { usdText, decimal } from '../../src/domain/money.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/servers/service.ts'

// Calculated by hand from the published prices of November 2026, and written down: nothing here is computed.
const { pool, url } = await createDatabase(t)
const service = await startService(t, url)

type Asked = { at?: string; service_tier?: string; region?: string }
type Case = [provider: string, model: string, usage: object, usd: string, asked?: Asked]

const tokens = (input: number, output: number, more: object = {}) => ({
  input_tokens: input,
  output_tokens: output,
  ...more,
})

/** 2,000 in, of which 1,000 written to a cache: 1000 x 2 + 1000 x 2.5 = 4500; and 100 out x 10 = 1000. */
const written = tokens(2_000, 100, { cache_write_tokens: 1_000 })
const spoken = tokens(1_000, 500, { audio_input_tokens: 300, audio_output_tokens: 100 })
const hourly = tokens(1_000, 0, { cache_write_tokens: 1_000, cache_write_1h_tokens: 1_000 })
/** 7266 x 4 + 4096 x 0.2 + 800 x 5 + 200 x 8 + 640 x 20 = 48283.2, and two searches for 0.02. */
const searched = tokens(12_362, 640, {
  cache_read_tokens: 4_096,
  cache_write_tokens: 1_000,
  cache_write_1h_tokens: 200,
  web_searches: 2,
})

const cases: Record<string, Case[]> = {
  'OpenAI: each bucket': [
    ['openai', 'gpt-6.1-sol', tokens(12_362, 640, { cache_read_tokens: 4_096 }), '0.0233416'],
    ['openai', 'gpt-6.1-sol', written, '0.0055'],
    // 6000 x 1 + 3000 x 1.25 + 1000 x 2.5
    [
      'openai',
      'gpt-6.1-terra',
      tokens(10_000, 0, { cache_write_tokens: 4_000, cache_write_12h_tokens: 1_000 }),
      '0.01225',
    ],
    // 400 x 4 + 300 x 0.4 + 100 x 0.4 + 200 x 32; 200 x 16 + 300 x 64
    [
      'openai',
      'gpt-realtime',
      tokens(1_000, 500, {
        cache_read_tokens: 400,
        cache_read_audio_tokens: 100,
        audio_input_tokens: 200,
        audio_output_tokens: 300,
      }),
      '0.03056',
    ],
    // 10 x 5 + 20 x 1.25 + 30 x 2 + 40 x 8; 60 x 10 + 4100 x 32
    [
      'openai',
      'gpt-image-1.5',
      tokens(100, 4_160, {
        cache_read_tokens: 50,
        cache_read_image_tokens: 30,
        image_input_tokens: 40,
        image_output_tokens: 4_100,
      }),
      '0.132255',
    ],
    // 700 x 2.5 + 300 x 40; 400 x 10 + 100 x 80
    ['openai', 'gpt-4o-audio-preview', spoken, '0.02575'],
    ['openai', 'gpt-4o-audio-preview-2025-06-03', spoken, '0.02575'],
    ['azure', 'gpt-4o-audio-preview-2024-12-17', spoken, '0.02575'],
    // 700 x 2.5 + 300 x 100; 400 x 10 + 100 x 200
    ['openai', 'gpt-4o-audio-preview-2024-10-01', spoken, '0.05575'],
    // 700 x 0.15 + 300 x 10; 400 x 0.6 + 100 x 20
    ['openai', 'gpt-4o-mini-audio-preview-2024-12-17', spoken, '0.005345'],
    ['openai', 'text-embedding-3-small', { input_tokens: 8_000 }, '0.00016'],
    ['openai', 'gpt-6.1-sol', { input_tokens: 0, web_searches: 3 }, '0.03'],
    // Reasoning tokens are output: 640 x 10, however many of them are reasoning.
    ['openai', 'gpt-6.1-sol', tokens(0, 640, { reasoning_tokens: 384 }), '0.0064'],
  ],
  'OpenAI: long context': [
    ['openai', 'gpt-6.1-sol', tokens(272_000, 1_000), '0.554'],
    ['openai', 'gpt-6.1-sol', tokens(272_001, 1_000), '1.103004'],
    // 1001 x 4 + 270000 x 0.2 + 1000 x 5 + 10 x 15
    [
      'openai',
      'gpt-6.1-sol',
      tokens(272_001, 10, { cache_read_tokens: 270_000, cache_write_tokens: 1_000 }),
      '0.063154',
    ],
    ['openai', 'gpt-5.4', tokens(272_000, 1_000), '0.695'],
    ['openai', 'gpt-5.4', tokens(272_001, 1_000), '1.382505'],
  ],
  'OpenAI: tiers and regions': [
    ['openai', 'gpt-6.1-sol', written, '0.00275', { service_tier: 'batch' }],
    ['openai', 'gpt-6.1-sol', written, '0.00275', { service_tier: 'flex' }],
    ['openai', 'gpt-6.1-sol', written, '0.011', { service_tier: 'fast' }],
    ['openai', 'gpt-6.1-sol', written, '0.011', { service_tier: 'priority' }],
    ['openai', 'gpt-6.1-sol', written, '0.00605', { region: 'eu' }],
    ['openai', 'gpt-6.1-sol', written, '0.003025', { service_tier: 'batch', region: 'eu' }],
  ],
  // 1,000 tokens written for an hour, at twice the input.
  'Claude elsewhere: writes for an hour': [
    ['aws', 'global.anthropic.claude-haiku-4-5-20251001-v1:0', hourly, '0.002'],
    ['aws', 'regional.anthropic.claude-sonnet-4-6-v1:0', hourly, '0.0066'],
    ['google', 'claude-opus-5-5', hourly, '0.008'],
    ['google', 'claude-4-sonnet', hourly, '0.006'],
    // 199001 x 6 + 1000 x 12
    [
      'google',
      'claude-sonnet-4-5',
      tokens(200_001, 0, { cache_write_tokens: 1_000, cache_write_1h_tokens: 1_000 }),
      '1.206006',
    ],
    // No hour there: as any other write.
    ['aws', 'regional.anthropic.claude-3-7-sonnet-20250219-v1:0', hourly, '0.00375'],
    ['aws', 'regional.anthropic.claude-3-haiku-20240307-v1:0', hourly, '0.00025'],
  ],
  // By the published prices of Fast mode: 3,000 in and 1,000 out.
  'OpenAI: Fast mode by model': [
    // 3 x 12.5 + 75
    ['openai', 'gpt-5.5', tokens(3_000, 1_000), '0.1125', { service_tier: 'priority' }],
    ['openai', 'gpt-5.5-2026-04-23', tokens(3_000, 1_000), '0.1125', { service_tier: 'fast' }],
    // 3 x 4.25 + 17
    ['openai', 'gpt-4o', tokens(3_000, 1_000), '0.02975', { service_tier: 'priority' }],
    ['openai', 'gpt-4o-2024-11-20', tokens(3_000, 1_000), '0.02975', { service_tier: 'fast' }],
    // 3 x 8.75 + 26.25
    ['openai', 'gpt-4o-2024-05-13', tokens(3_000, 1_000), '0.0525', { service_tier: 'priority' }],
    // 3 x 3.5 + 14
    ['openai', 'gpt-4.1', tokens(3_000, 1_000), '0.0245', { service_tier: 'priority' }],
    ['openai', 'o3', tokens(3_000, 1_000), '0.0245', { service_tier: 'fast' }],
    // 3 x 0.7 + 2.8
    ['openai', 'gpt-4.1-mini', tokens(3_000, 1_000), '0.0049', { service_tier: 'priority' }],
    // 3 x 0.45 + 3.6
    ['openai', 'gpt-5-mini', tokens(3_000, 1_000), '0.00495', { service_tier: 'priority' }],
    // 3 x 0.25 + 1, of which 1,000 cached at 0.125
    [
      'openai',
      'gpt-4o-mini',
      tokens(3_000, 1_000, { cache_read_tokens: 1_000 }),
      '0.001625',
      { service_tier: 'priority' },
    ],
    // 3 x 2 + 8
    ['openai', 'o4-mini', tokens(3_000, 1_000), '0.014', { service_tier: 'priority' }],
    // 3 x 4 + 24
    ['openai', 'gpt-5.6-terra', tokens(3_000, 1_000), '0.036', { service_tier: 'fast' }],
  ],
  'Anthropic: each bucket, tiers and regions': [
    ['anthropic', 'claude-opus-5-5', searched, '0.0682832'],
    ['anthropic', 'claude-opus-5-5', searched, '0.0441416', { service_tier: 'batch' }],
    ['anthropic', 'claude-opus-5-5', searched, '0.1165664', { service_tier: 'fast' }],
    ['anthropic', 'claude-opus-5-5', searched, '0.07311152', { region: 'us' }],
    ['anthropic', 'claude-opus-5-5', searched, '0.04655576', { service_tier: 'batch', region: 'us' }],
    ['anthropic', 'claude-haiku-5-5', tokens(100_000, 10), '0.010005'],
    ['anthropic', 'claude-haiku-5-5', tokens(100_001, 10), '0.0500255'],
  ],
  'Google: long context, audio, images, video, tiers': [
    ['google', 'gemini-2.5-pro', tokens(200_000, 1_000), '0.26'],
    ['google', 'gemini-2.5-pro', tokens(200_001, 1_000), '0.5150025'],
    ['google', 'gemini-3.1-pro-preview', tokens(200_000, 0, { cache_read_tokens: 100_000 }), '0.22'],
    ['google', 'gemini-3.1-pro-preview', tokens(200_001, 0, { cache_read_tokens: 100_000 }), '0.440004'],
    // 400 x 0.3 + 300 x 0.03 + 100 x 0.1 + 200 x 1; 50 x 2.5
    [
      'google',
      'gemini-2.5-flash',
      tokens(1_000, 50, { cache_read_tokens: 400, cache_read_audio_tokens: 100, audio_input_tokens: 200 }),
      '0.000464',
    ],
    ['google', 'gemini-3.8-flash', tokens(1_000, 100), '0.0005625', { service_tier: 'flex' }],
    ['google', 'gemini-3.8-flash', tokens(1_000, 100), '0.002025', { service_tier: 'priority' }],
    // 30 x 0.2 + 40 x 0.45 + 10 x 6.5 + 20 x 12
    [
      'google',
      'gemini-embedding-2',
      { input_tokens: 100, image_input_tokens: 40, audio_input_tokens: 10, video_input_tokens: 20 },
      '0.000329',
    ],
    // 1000 x 1.5 + 100 x 9 + 2000 x 17.5
    ['google', 'gemini-omni-flash-preview', tokens(1_000, 2_100, { video_output_tokens: 2_000 }), '0.0374'],
    // 500 x 0.75 + 300 x 3 + 200 x 1; 60 x 4.5 + 40 x 12
    [
      'google',
      'gemini-3.1-flash-live-preview',
      tokens(1_000, 100, { audio_input_tokens: 300, video_input_tokens: 200, audio_output_tokens: 40 }),
      '0.002225',
    ],
    ['google', 'gemini-embedding-001', { input_tokens: 1_000 }, '0.00015'],
  ],
  // As the providers spell them: 1,000 in and 1,000 out each.
  'Names that Bedrock gives': [
    // 1 + 5; and 10 % more within a region
    ['aws', 'global.anthropic.claude-haiku-4-5-20251001-v1:0', tokens(1_000, 1_000), '0.006'],
    ['aws', 'us.anthropic.claude-haiku-4-5-20251001-v1:0', tokens(1_000, 1_000), '0.0066'],
    ['aws', 'apac.anthropic.claude-haiku-4-5-20251001-v1:0', tokens(1_000, 1_000), '0.0066'],
    // 3 + 15
    ['aws', 'eu.anthropic.claude-sonnet-4-5-20250929-v1:0', tokens(1_000, 1_000), '0.0198'],
    ['aws', 'anthropic.claude-3-5-sonnet-20241022-v2:0', tokens(1_000, 1_000), '0.018'],
    ['aws', 'eu.anthropic.claude-sonnet-4-20250514-v1:0', tokens(1_000, 1_000), '0.018'],
    ['aws', 'global.anthropic.claude-sonnet-4-6', tokens(1_000, 1_000), '0.018'],
    ['aws', 'jp.anthropic.claude-sonnet-4-6', tokens(1_000, 1_000), '0.0198'],
    // 5 + 25
    ['aws', 'global.anthropic.claude-opus-4-5-20251101-v1:0', tokens(1_000, 1_000), '0.03'],
    ['aws', 'us.anthropic.claude-opus-4-5-20251101-v1:0', tokens(1_000, 1_000), '0.033'],
    ['aws', 'global.anthropic.claude-opus-4-6-v1', tokens(1_000, 1_000), '0.03'],
    ['aws', 'au.anthropic.claude-opus-4-6-v1', tokens(1_000, 1_000), '0.033'],
    ['aws', 'us.anthropic.claude-opus-4-7', tokens(1_000, 1_000), '0.033'],
    // 2 + 10
    ['aws', 'global.anthropic.claude-sonnet-5-5', tokens(1_000, 1_000), '0.012'],
    ['aws', 'us.anthropic.claude-sonnet-5-5', tokens(1_000, 1_000), '0.0132'],
    // 0.25 + 1.25
    ['aws', 'anthropic.claude-3-haiku-20240307-v1:0', tokens(1_000, 1_000), '0.0015'],
    // 0.8 + 3.2, 0.06 + 0.24, 1.05 + 4.2, 0.33 + 2.75
    ['aws', 'us.amazon.nova-pro-v1:0', tokens(1_000, 1_000), '0.004'],
    ['aws', 'us.amazon.nova-lite-v1:0', tokens(1_000, 1_000), '0.0003'],
    ['aws', 'eu.amazon.nova-pro-v1:0', tokens(1_000, 1_000), '0.00525'],
    ['aws', 'us.amazon.nova-2-lite-v1:0', tokens(1_000, 1_000), '0.00308'],
    // 0.72 twice, 1.35 + 5.4
    ['aws', 'us.meta.llama3-3-70b-instruct-v1:0', tokens(1_000, 1_000), '0.00144'],
    ['aws', 'us.deepseek.r1-v1:0', tokens(1_000, 1_000), '0.00675'],
    // 2 + 10 of OpenAI's, and 10 % more
    ['aws', 'global.openai.gpt-6.1-sol', tokens(1_000, 1_000), '0.012'],
    ['aws', 'us.openai.gpt-6.1-sol', tokens(1_000, 1_000), '0.0132'],
    ['aws', 'us.openai.gpt-5.5', tokens(1_000, 1_000), '0.0385'],
  ],
  'Names that Azure, Vertex and MiniMax give': [
    ['azure', 'gpt-4o', tokens(1_000, 1_000), '0.0125'],
    ['azure', 'gpt-4o-2024-11-20', tokens(1_000, 1_000), '0.0125'],
    ['azure', 'gpt-4.1-2025-04-14', tokens(1_000, 1_000), '0.01'],
    ['azure', 'gpt-5-mini-2025-08-07', tokens(1_000, 1_000), '0.00225'],
    ['azure', 'gpt-5.6-terra', tokens(1_000, 1_000), '0.014'],
    // It cost more until July: 2.5 + 15
    ['azure', 'gpt-5.6-terra-2026-07-09', tokens(1_000, 1_000), '0.0175', { at: '2026-07-29T23:59:59.999Z' }],
    ['azure', 'gpt-5.6-terra', { input_tokens: 0, web_searches: 2 }, '0.028'],
    // 272001 x 4 + 1000 x 18
    ['azure', 'gpt-5.6-terra', tokens(272_001, 1_000), '1.106004'],
    ['azure', 'o3', tokens(1_000, 1_000), '0.01'],
    ['azure', 'claude-opus-5-5', hourly, '0.008'],
    ['google', 'claude-haiku-4-5@20251001', tokens(1_000, 1_000), '0.006'],
    ['google', 'claude-opus-4-6@default', tokens(1_000, 1_000), '0.03'],
    // Its long context, at 10 a million, ended.
    ['google', 'claude-opus-4-6', tokens(300_000, 0), '3', { at: '2026-03-12T23:59:59.999Z' }],
    ['google', 'claude-opus-4-6', tokens(300_000, 0), '1.5', { at: '2026-03-13T00:00:00Z' }],
    ['google', 'claude-sonnet-4-5@20250929', tokens(1_000, 1_000), '0.018'],
    ['google', 'claude-3-5-sonnet-v2@20241022', tokens(1_000, 1_000), '0.018'],
    ['google', 'claude-opus-4@20250514', tokens(1_000, 1_000), '0.09'],
    ['minimax', 'MiniMax-M3', tokens(1_000, 1_000), '0.0015'],
    ['minimax', 'MiniMax-M1', tokens(1_000, 1_000), '0.0026'],
    ['minimax', 'MiniMax-M2.1-lightning', tokens(1_000, 1_000), '0.0027'],
  ],
  'Tiers of others': [
    // 3 + 15, halved
    ['aws', 'anthropic.claude-3-7-sonnet-20250219-v1:0', tokens(1_000, 1_000), '0.009', { service_tier: 'batch' }],
    ['google', 'claude-sonnet-4-6', tokens(1_000, 1_000), '0.009', { service_tier: 'batch' }],
    // 0.8 + 3.2, halved and at 1.75
    ['aws', 'us.amazon.nova-pro-v1:0', tokens(1_000, 1_000), '0.002', { service_tier: 'flex' }],
    ['aws', 'us.amazon.nova-pro-v1:0', tokens(1_000, 1_000), '0.007', { service_tier: 'priority' }],
    // 0.15 + 0.6
    ['aws', 'openai.gpt-oss-120b-1:0', tokens(1_000, 1_000), '0.0013125', { service_tier: 'priority' }],
    // 2.5 + 10; 5 + 30; 2 + 8
    ['azure', 'gpt-4o', tokens(1_000, 1_000), '0.00625', { service_tier: 'batch' }],
    ['azure', 'gpt-5.5', tokens(1_000, 1_000), '0.0175', { service_tier: 'flex' }],
    ['azure', 'gpt-5.5', tokens(1_000, 1_000), '0.0875', { service_tier: 'priority' }],
    ['azure', 'gpt-4.1', tokens(1_000, 1_000), '0.0175', { service_tier: 'priority' }],
    // 1.25 + 10; 4 + 20 from December on
    ['google', 'gemini-2.5-pro', tokens(1_000, 1_000), '0.02025', { service_tier: 'priority' }],
    [
      'google',
      'gemini-4-argon',
      tokens(1_000, 1_000),
      '0.0432',
      { service_tier: 'priority', at: '2026-12-01T00:00:00Z' },
    ],
    ['groq', 'openai/gpt-oss-20b', tokens(1_000, 1_000), '0.000375', { service_tier: 'flex' }],
  ],
  'Groq and others': [
    // 36 x 0.075 + 64 x 0.0375 + 20 x 0.3
    ['groq', 'openai/gpt-oss-20b', tokens(100, 20, { cache_read_tokens: 64 }), '0.0000111'],
    ['groq', 'openai/gpt-oss-20b', tokens(100, 20, { cache_read_tokens: 64 }), '0.00000555', { service_tier: 'batch' }],
    ['groq', 'qwen/qwen3.8-27b', tokens(1_000_000, 1_000_000), '4.8'],
    // A fee for the request beside the tokens.
    ['perplexity', 'sonar', tokens(1_000, 1_000), '0.014'],
    ['perplexity', 'sonar-pro', tokens(1_000, 1_000), '0.032'],
    // 1000 x 2 + 300 x 8 + 700 x 3, and two searches for 0.01
    ['perplexity', 'sonar-deep-research', tokens(1_000, 1_000, { reasoning_tokens: 700, web_searches: 2 }), '0.0165'],
    ['deepseek', 'deepseek-chat', tokens(1_000, 100, { cache_read_tokens: 500 }), '0.00028'],
  ],
  'past and scheduled prices, to the last millisecond': [
    ['google', 'gemini-4-argon', tokens(1_000, 100), '0.003', { at: '2026-11-30T23:59:59.999Z' }],
    ['google', 'gemini-4-argon', tokens(1_000, 100), '0.006', { at: '2026-12-01T00:00:00Z' }],
    ['google', 'gemini-3.8-flash', tokens(1_000, 100), '0.001125', { at: '2026-12-31T23:59:59.999Z' }],
    ['google', 'gemini-3.8-flash', tokens(1_000, 100), '0.00225', { at: '2027-01-01T00:00:00Z' }],
    ['google', 'gemini-3.6-flash', tokens(1_000, 100), '0.00225', { at: '2027-01-01T00:00:00Z' }],
    [
      'anthropic',
      'claude-sonnet-5-5',
      { input_tokens: 1_000, cache_read_tokens: 1_000 },
      '0.0002',
      { at: '2026-10-06T23:59:59.999Z' },
    ],
    [
      'anthropic',
      'claude-sonnet-5-5',
      { input_tokens: 1_000, cache_read_tokens: 1_000 },
      '0.0001',
      { at: '2026-10-07T00:00:00Z' },
    ],
  ],
}

for (const [name, list] of Object.entries(cases)) {
  t.test(name, async (t) => {
    for (const [provider, model, usage, usd, asked = {}] of list) {
      const { at = '2026-11-24T00:00:00Z', service_tier, region } = asked
      const what = `${model} ${JSON.stringify(usage)} ${JSON.stringify(asked)}`
      const { text } = await service.call('POST', '/v1/estimates', {
        resource_type: 'llm',
        at,
        llm: {
          provider,
          model,
          provider_usage: usage,
          ...(service_tier && { service_tier }),
          ...(region && { region }),
        },
      })
      t.equal(/"cost_usd":([\d.]+)/.exec(text)?.[1], usd, what)
      const { rows } = await pool.query<{ total: string }>(
        `select total_cost_usd::text as total from copilot_internal.price_llm_usage(
           copilot_internal.find_model_price($1, $2, $3), $4, $5, $6)`,
        [provider, model, at, usage, service_tier, region],
      )
      t.equal(usdText(decimal(rows[0]!.total)), usd, `${what}, in SQL`)
    }
  })
}

t.test('a request to Perplexity holds the highest fee, and costs the fee of its search context', async (t) => {
  const cases: [model: string, size: string | undefined, heldUsd: number, usd: number][] = [
    // 3 + 15, and 6, 10 or 14 a thousand requests
    ['sonar-pro', 'low', 0.032, 0.024],
    ['sonar-pro', 'medium', 0.032, 0.028],
    ['sonar-pro', 'high', 0.032, 0.032],
    ['sonar-pro', undefined, 0.032, 0.032],
    // 2 + 8, and 6
    ['sonar-reasoning-pro', 'low', 0.024, 0.016],
    // 1 + 1, and 5 or 8
    ['sonar', 'low', 0.014, 0.007],
    ['sonar', 'medium', 0.014, 0.01],
    // 1 + 5, and 5
    ['sonar-reasoning', 'low', 0.018, 0.011],
  ]
  for (const [model, size, heldUsd, usd] of cases) {
    const held = await service.call('POST', '/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'searching',
      llm: { provider: 'perplexity', model, input_tokens: 1_000, max_output_tokens: 1_000 },
    })
    t.match(held, { status: 201, json: { reserved_usd: heldUsd } }, model)
    const committed = await service.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
      usage: tokens(1_000, 1_000, { ...(size && { search_context: size }) }),
    })
    t.match(committed, { status: 200, json: { cost_usd: usd } }, `${model} ${size}`)
  }
})

t.test('a hold and a commit in Fast mode have its factor, requested as fast or as priority', async (t) => {
  for (const serviceTier of ['priority', 'fast']) {
    const held = await service.call('POST', '/v1/reservations', {
      resource_type: 'llm',
      tenant_id: 'in-a-hurry',
      llm: {
        provider: 'openai',
        model: 'gpt-5.6-terra',
        input_tokens: 2_000,
        max_output_tokens: 1_000,
        service_tier: serviceTier,
      },
    })
    // The prompt may be written to the cache: 2 x (2000 x 2.5 + 1000 x 12).
    t.match(held, { status: 201, json: { reserved_usd: 0.034 } }, serviceTier)
    const committed = await service.call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
      provider_usage: { service_tier: 'priority', usage: { input_tokens: 2_000, output_tokens: 1_000 } },
    })
    t.match(committed, { status: 200, json: { cost_usd: 0.032 } }, serviceTier)
  }
})

t.test('sandboxes: every tier, two regions, two versions, and a price change during a run', async (t) => {
  const change = '2999-01-01T00:00:00Z'
  const price = (region: string, vcpu: string, gib: string, effective_date?: string) =>
    service.call('POST', '/v1/pricing/e2b', {
      tier: 'medium',
      region,
      usd_per_vcpu_second: vcpu,
      usd_per_gib_second: gib,
      ...(effective_date && { effective_date }),
    })
  t.equal((await price('eu-west-1', '0.00002', '0.000005')).status, 201)
  t.equal((await price('us-east-1', '0.00003', '0.00001', change)).status, 201)
  t.equal((await price('eu-west-1', '0.00004', '0.00001', change)).status, 201)

  const runs: [tier: string, seconds: number, usd: string, at?: string, region?: string][] = [
    // An hour of 3600 x (vCPU x 0.000014 + GiB x 0.0000045).
    ['nano', 3_600, '0.0585'],
    ['default', 3_600, '0.1089'],
    ['small', 3_600, '0.0666'],
    ['medium', 3_600, '0.1332'],
    ['large', 3_600, '0.2664'],
    ['xlarge', 3_600, '0.468'],
    ['xxlarge', 3_600, '0.5328'],
    ['standard', 3_600, '0.1089'],
    // 412.6 x 0.000037
    ['medium', 412.6, '0.0152662'],
    // 2 x 0.00002 + 2 x 0.000005 = 0.00005 a second
    ['medium', 3_600, '0.18', '2026-11-24T00:00:00Z', 'eu-west-1'],
    // 10 s x 0.000037 + 20 s x 0.00008; in the other region 10 s x 0.00005 + 20 s x 0.0001
    ['medium', 30, '0.00197', '2998-12-31T23:59:50Z'],
    ['medium', 30, '0.0025', '2998-12-31T23:59:50Z', 'eu-west-1'],
    ['medium', 30, '0.0024', change],
    ['medium', 30, '0.003', change, 'eu-west-1'],
  ]
  for (const [tier, seconds, usd, at = '2026-11-24T00:00:00Z', region = 'us-east-1'] of runs) {
    const { text } = await service.call('POST', '/v1/estimates', {
      resource_type: 'e2b',
      at,
      e2b: { tier, region, seconds },
    })
    t.equal(/"cost_usd":([\d.]+)/.exec(text)?.[1], usd, `${tier} ${seconds} s ${at} ${region}`)
    const { rows } = await pool.query<{ total: string }>(
      'select total_cost_usd::text as total from copilot_internal.price_e2b_usage($1, $2, null, null, $3, $4)',
      [tier, region, at, seconds],
    )
    t.equal(usdText(decimal(rows[0]!.total)), usd, `${tier} ${seconds} s ${at} ${region}, in SQL`)
  }
})
