import { ATTRIBUTION, COST_RECORD_ID, DAY, MORNING, NEXT_DAY, RESERVATION_ID, type RoomExamples } from './operation.ts'

const CALL = {
  resource_type: 'llm',
  ...ATTRIBUTION,
  ttl_seconds: 120,
  llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 },
}
const SANDBOX = {
  resource_type: 'e2b',
  tenant_id: 'acme',
  conversation_id: 'c-9',
  on_expiry: 'charge',
  e2b: { tier: 'medium', max_seconds: 1_800 },
}
const OWN_ESTIMATE = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: '0.25' }

const RESERVATION = {
  reservation_id: RESERVATION_ID,
  status: 'reserved',
  resource_type: 'llm',
  ...ATTRIBUTION,
  provider: 'openai',
  model: 'gpt-6.1-sol',
  tier: null,
  reserved_usd: 0.05,
  price_id: 1689,
  caps: null,
  on_expiry: 'release',
  created_at: MORNING,
  expires_at: '2026-12-01T09:32:00Z',
  settled_at: null,
  cost_usd: null,
  cost_record_ids: [],
}
const COMMITTED = {
  ...RESERVATION,
  status: 'committed',
  settled_at: '2026-12-01T09:30:03Z',
  cost_usd: 0.0223176,
  cost_record_ids: [COST_RECORD_ID],
}

/** The quotas of the tenant and of the user, with so much spent and held in each. */
const quotas = (spent_usd: number, reserved_usd: number, left: readonly [tenant: number, user: number]) => {
  const amounts = (limit_usd: number, remaining_usd: number) => ({
    limit_usd,
    spent_usd,
    reserved_usd,
    remaining_usd,
    reset_at: NEXT_DAY,
  })
  return [
    { quota_id: 1, scope: 'tenant', scope_id: 'acme', period: 'day', enforcement: 'enforce', ...amounts(50, left[0]) },
    { quota_id: 3, scope: 'user', scope_id: 'u-17', period: 'day', enforcement: 'enforce', ...amounts(5, left[1]) },
  ]
}

/** A refusal by the quota of the user. */
const refusal = (path: string, detail: string, overage_usd: number, requested_usd: number) => ({
  type: '/problems/quota-exceeded',
  title: 'Quota exceeded',
  status: 429,
  detail,
  code: 'quota_exceeded',
  request_id: '80ebb159-0684-4686-9809-784109b833c6',
  instance: path,
  error: 'quota_exceeded',
  resource_type: 'llm',
  scope: 'user',
  scope_id: 'u-17',
  period: 'day',
  current_spend_usd: 4.75,
  reserved_usd: 0,
  limit_usd: 5,
  overage_usd,
  period_starts_at: DAY,
  period_ends_at: NEXT_DAY,
  reset_at: NEXT_DAY,
  requested_usd,
  largest_allowed_usd: 0.25,
  violations: [
    {
      quota_id: 3,
      scope: 'user',
      scope_id: 'u-17',
      period: 'day',
      limit_usd: 5,
      spent_usd: 4.75,
      reserved_usd: 0,
      remaining_usd: 0.25,
      reset_at: NEXT_DAY,
    },
  ],
})

export const RESERVATIONS: RoomExamples = {
  reserve: {
    parameters: { 'idempotency-key': 'c-9-turn-12' },
    bodies: { call: CALL, sandbox: SANDBOX, ownEstimate: OWN_ESTIMATE },
    answers: {
      201: {
        means: 'The amount is held in every quota that applies.',
        value: {
          reservation_id: RESERVATION_ID,
          status: 'reserved',
          resource_type: 'llm',
          tenant_id: 'acme',
          reserved_usd: 0.05,
          price_id: 1689,
          created_at: MORNING,
          expires_at: '2026-12-01T09:32:00Z',
          caps: null,
          quotas: quotas(0, 0.05, [49.95, 4.95]),
          warnings: [],
        },
      },
      429: {
        means:
          'A quota does not allow the amount (`quota_exceeded`), and nothing is held. Or this key sends too many requests (`rate_limited`).',
        value: refusal('/v1/reservations', 'user u-17 has 0.25 of 5.00 USD left today; 0.35 was asked for', 0.1, 0.35),
      },
    },
  },
  listReservations: {
    parameters: { status: 'committed' },
    answers: { 200: { means: 'A page of reservations.', value: { data: [COMMITTED], next_cursor: null } } },
  },
  check: {
    bodies: { call: CALL, sandbox: SANDBOX, ownEstimate: OWN_ESTIMATE },
    answers: {
      200: {
        means: 'What a reservation with this body would be answered now.',
        value: {
          allowed: true,
          requested_usd: 0.05,
          largest_allowed_usd: 4.95,
          price_id: 1689,
          caps: null,
          violations: [],
          quotas: quotas(0, 0.05, [49.95, 4.95]),
          warnings: [],
        },
      },
    },
  },
  readReservation: {
    parameters: { id: RESERVATION_ID },
    answers: { 200: { means: 'The reservation as it is now.', value: COMMITTED } },
  },
  commit: {
    parameters: { id: RESERVATION_ID },
    bodies: {
      usage: {
        usage: { input_tokens: 11_850, cache_read_tokens: 4_096, output_tokens: 640 },
        call: {
          started_at: '2026-12-01T09:30:00Z',
          ended_at: '2026-12-01T09:30:03Z',
          outcome: 'completed',
          streaming: true,
        },
      },
      providerUsage: {
        provider_usage: {
          input_tokens: 11_850,
          input_tokens_details: { cached_tokens: 4_096 },
          output_tokens: 640,
          output_tokens_details: { reasoning_tokens: 128 },
          total_tokens: 12_490,
        },
      },
      actualCost: { actual_cost_usd: '0.0223176' },
      usageUnknown: { usage_unknown: true },
    },
    answers: {
      200: {
        means: 'The cost is booked and the hold is given back.',
        value: {
          reservation_id: RESERVATION_ID,
          status: 'committed',
          cost_usd: 0.0223176,
          reserved_usd: 0.05,
          released_usd: 0.0276824,
          overrun_usd: 0,
          late: false,
          estimated: false,
          cost_record_id: COST_RECORD_ID,
          price_id: 1689,
          quotas: quotas(0.0223176, 0, [49.9776824, 4.9776824]),
          warnings: [],
        },
      },
    },
  },
  extend: {
    parameters: { id: RESERVATION_ID },
    bodies: { longer: { ttl_seconds: 600 }, larger: { ttl_seconds: 600, estimate: { max_output_tokens: 2_500 } } },
    answers: {
      200: {
        means: 'The reservation with its new time and amount.',
        value: {
          ...RESERVATION,
          reserved_usd: 0.055,
          expires_at: '2026-12-01T09:40:00Z',
          quotas: quotas(0, 0.055, [49.945, 4.945]),
          warnings: [],
        },
      },
      429: {
        means:
          'A quota does not allow the new total (`quota_exceeded`), and the hold is as it was. Or this key sends too many requests (`rate_limited`).',
        value: refusal(
          `/v1/reservations/${RESERVATION_ID}/extend`,
          'user u-17 has 0.25 of 5.00 USD left today for the whole of this hold; 0.35 in all was asked for',
          0.1,
          0.35,
        ),
      },
    },
  },
  release: {
    parameters: { id: RESERVATION_ID },
    bodies: { reason: { reason: 'cancelled by the caller' } },
    answers: {
      200: {
        means: 'The hold is given back.',
        value: {
          reservation_id: RESERVATION_ID,
          status: 'released',
          released_usd: 0.05,
          reason: 'cancelled by the caller',
        },
      },
    },
  },
  estimate: {
    bodies: {
      usage: {
        resource_type: 'llm',
        llm: { provider: 'openai', model: 'gpt-6.1-sol', usage: { input_tokens: 8_200, output_tokens: 410 } },
      },
      most: {
        resource_type: 'llm',
        at: '2026-11-24T00:00:00Z',
        llm: { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 12_000, max_output_tokens: 2_000 },
      },
      sandbox: { resource_type: 'e2b', e2b: { vcpu: 2, memory_mib: 512, seconds: 3_600 } },
    },
    answers: {
      200: {
        means: 'The cost and what it is made of.',
        value: {
          cost_usd: 0.0205,
          price_id: 1689,
          effective_date: '1970-01-01T00:00:00Z',
          long_context: false,
          breakdown: [
            { bucket: 'input', quantity: 8_200, usd_per_unit: 0.000002, cost_usd: 0.0164 },
            { bucket: 'output', quantity: 410, usd_per_unit: 0.00001, cost_usd: 0.0041 },
          ],
          warnings: [],
        },
      },
    },
  },
}
