import type { RoomExamples } from './operation.ts'

const ALWAYS = '1970-01-01T00:00:00Z'
const SOON = '2026-12-10T00:00:00Z'

const MODEL_BODY = {
  provider: 'openai',
  model: 'gpt-7',
  aliases: ['gpt-7-2026-12-01'],
  effective_date: SOON,
  source: 'price page of 2026-12-01',
  usd_per_mtok: { input: 2, cache_read: 0.2, output: 10 },
  usd_per_unit: { web_search: 0.01 },
  long_context: { input_tokens_over: 272_000, usd_per_mtok: { input: 4, output: 15 } },
  modifiers: { batch: 0.5, 'region:eu': 1.1 },
}
const SANDBOX = {
  price_id: 1826,
  tier: 'medium',
  region: 'us-east-1',
  vcpu: 2,
  memory_mib: 2_048,
  usd_per_vcpu_second: 0.000014,
  usd_per_gib_second: 0.0000045,
  price_per_second: 0.000037,
  effective_date: ALWAYS,
  expires_at: null,
  source: 'overlay 2026-12-01',
  status: 'current',
}

export const PRICES: RoomExamples = {
  listModelPrices: {
    parameters: { status: 'current' },
    answers: {
      200: {
        means: 'A page of versions.',
        value: {
          data: [
            {
              price_id: 1689,
              provider: 'openai',
              model: 'gpt-6.1-sol',
              aliases: [],
              effective_date: ALWAYS,
              expires_at: null,
              source: 'overlay 2026-12-01',
              status: 'current',
              usd_per_mtok: { input: 2, output: 10, cache_read: 0.1, cache_write: 2.5 },
              usd_per_unit: { web_search: 0.01 },
              long_context: {
                input_tokens_over: 272_000,
                usd_per_mtok: { input: 4, output: 15, cache_read: 0.2, cache_write: 5 },
              },
              modifiers: { batch: 0.5, flex: 0.5, priority: 2, fast: 2, ultrafast: 6, 'region:eu': 1.1 },
            },
          ],
          next_cursor: null,
        },
      },
    },
  },
  publishModelPrice: {
    bodies: { model: MODEL_BODY },
    answers: {
      201: {
        means: 'The version is published.',
        value: {
          price_id: 1831,
          ...MODEL_BODY,
          expires_at: null,
          source: 'admin: price page of 2026-12-01',
          status: 'scheduled',
        },
      },
    },
  },
  listSandboxPrices: {
    parameters: { status: 'current' },
    answers: { 200: { means: 'A page of versions.', value: { data: [SANDBOX], next_cursor: null } } },
  },
  publishSandboxPrice: {
    bodies: {
      tier: {
        tier: 'medium',
        usd_per_vcpu_second: '0.000015',
        usd_per_gib_second: '0.0000046',
        effective_date: SOON,
        source: 'contract of 2026-12-01',
      },
    },
    answers: {
      201: {
        means: 'The version is published.',
        value: {
          ...SANDBOX,
          price_id: 1832,
          usd_per_vcpu_second: 0.000015,
          usd_per_gib_second: 0.0000046,
          price_per_second: 0.0000392,
          effective_date: SOON,
          source: 'admin: contract of 2026-12-01',
          status: 'scheduled',
        },
      },
    },
  },
  syncPrices: {
    bodies: { dryRun: { dry_run: true } },
    answers: {
      200: {
        means: 'What was published, or would be, and what was not.',
        value: {
          dry_run: true,
          added: [
            {
              provider: 'openai',
              model: 'gpt-6.1-terra',
              effective_date: '2026-12-01T09:30:00Z',
              source: 'feed 2026-12-01',
              changes: [{ bucket: 'input', from_usd: 1, to_usd: 0.9 }],
            },
          ],
          unchanged: 1_821,
          aliases: 0,
          disagreements: [],
          held_back: [],
          skipped: [{ provider: 'openai', model: 'whisper-1', reason: 'is priced by audio_hours' }],
          sources: [
            { name: 'package', status: 'read', detail: 'genai-prices 0.1.8' },
            { name: 'overlay', status: 'read', detail: '2026-12-01' },
            { name: 'second source', status: 'read', detail: 'own facts of 2026-11-10' },
          ],
        },
      },
    },
  },
}
