import { ATTRIBUTION, COST_RECORD_ID, DAY, MORNING, NEXT_DAY, RESERVATION_ID, type RoomExamples } from './operation.ts'

const RECORD = {
  cost_record_id: COST_RECORD_ID,
  reservation_id: RESERVATION_ID,
  resource_type: 'llm',
  ...ATTRIBUTION,
  provider: 'openai',
  model: 'gpt-6.1-sol',
  tier: null,
  usage: { input_tokens: 11_850, output_tokens: 640, cache_read_tokens: 4_096 },
  cost_usd: 0.0223176,
  price_id: 1689,
  occurred_at: '2026-12-01T09:30:03Z',
  recorded_at: '2026-12-01T09:30:03Z',
  late: false,
  overrun: false,
  estimated: false,
  corrects: null,
}
const CORRECTION = { ...RECORD, recorded_at: '2026-12-01T11:05:00Z', corrects: COST_RECORD_ID }

const sums = (cost_usd: number, records: number, input_tokens: number, output_tokens: number, seconds: number) => ({
  cost_usd,
  previous_cost_usd: 0,
  records,
  input_tokens,
  output_tokens,
  seconds,
})

export const COSTS: RoomExamples = {
  record: {
    bodies: {
      records: {
        records: [
          {
            resource_type: 'llm',
            ...ATTRIBUTION,
            occurred_at: '2026-12-01T09:12:30Z',
            idempotency_key: 'batch-2026-12-01-17',
            llm: { provider: 'openai', model: 'gpt-6.1-sol', usage: { input_tokens: 8_200, output_tokens: 410 } },
          },
          {
            resource_type: 'e2b',
            tenant_id: 'acme',
            conversation_id: 'c-9',
            e2b: { tier: 'medium', seconds: 412.6 },
          },
        ],
      },
    },
    answers: {
      201: {
        means: 'All records are booked.',
        value: {
          data: [
            { index: 0, cost_record_id: COST_RECORD_ID, cost_usd: 0.0205, replayed: false, warnings: [] },
            {
              index: 1,
              cost_record_id: '01a230f0-9955-7641-bbe4-cf8d5f5b1098',
              cost_usd: 0.0152662,
              replayed: false,
              warnings: [],
            },
          ],
        },
      },
    },
  },
  correct: {
    bodies: {
      usage: {
        usage: { input_tokens: 11_850, cache_read_tokens: 4_096, output_tokens: 600 },
        reason: 'the last part of the stream was counted twice',
      },
      cost: { cost_usd: '0.02', reason: 'invoice of December' },
    },
    answers: {
      201: {
        means: 'The record is reversed, and a new one stands in its place.',
        value: {
          data: [
            {
              ...CORRECTION,
              cost_record_id: '01a230f0-9955-7641-bbe4-cf8e8ea3ba76',
              usage: { input_tokens: -11_850, output_tokens: -640, cache_read_tokens: -4_096 },
              cost_usd: -0.0223176,
            },
            {
              ...CORRECTION,
              cost_record_id: '01a230f0-9955-7641-bbe4-cf8f307ccf23',
              usage: { input_tokens: 11_850, output_tokens: 600, cache_read_tokens: 4_096 },
              cost_usd: 0.0219176,
            },
          ],
          warnings: [],
        },
      },
    },
  },
  listCostRecords: {
    answers: { 200: { means: 'A page of cost records.', value: { data: [RECORD], next_cursor: null } } },
  },
  readCosts: {
    parameters: { group_by: 'tenant,model,day', compare: 'previous', top: 10 },
    answers: {
      200: {
        means: 'The sum, and a page of groups.',
        value: {
          from: DAY,
          to: NEXT_DAY,
          time_zone: 'UTC',
          total: sums(0.0375838, 2, 11_850, 640, 412.6),
          groups: [
            {
              key: { tenant: 'acme', model: 'gpt-6.1-sol', day: '2026-12-01' },
              ...sums(0.0223176, 1, 11_850, 640, 0),
            },
            { key: { tenant: 'acme', model: null, day: '2026-12-01' }, ...sums(0.0152662, 1, 0, 0, 412.6) },
          ],
          next_cursor: null,
        },
      },
    },
  },
  exportCosts: {
    parameters: { format: 'csv', cursor: COST_RECORD_ID },
    answers: {
      200: {
        means:
          'The rows, in the form that `format` names. If the export fails midway, the connection closes without the final chunk; treat the file as incomplete and resume with `cursor`.',
        lines: {
          'text/csv':
            'cost_record_id,reservation_id,resource_type,tenant_id,user_id,conversation_id,path_id,labels,provider,model,tier,usage,cost_usd,price_id,occurred_at,recorded_at,late,overrun,estimated,corrects\n' +
            '01a230f0-9955-7641-bbe4-cf8d5f5b1098,,e2b,acme,,c-9,,{},,,medium,"{""seconds"": 412.6}",0.0152662,1826,2026-12-01T09:30:00.000000Z,2026-12-01T09:30:00.000000Z,false,false,false,\n',
          'application/x-ndjson': `${JSON.stringify({ ...RECORD, occurred_at: MORNING })}\n`,
        },
      },
    },
  },
}
