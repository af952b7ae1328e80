import { DAY, MORNING, NEXT_DAY, type RoomExamples } from './operation.ts'

const BODY = {
  scope: 'tenant',
  tenant_id: 'acme',
  period: 'day',
  limit_usd: 50,
  enforcement: 'enforce',
  thresholds: [0.8, 0.9],
  time_zone: 'Europe/Dublin',
}
const QUOTA = {
  quota_id: 1,
  resource_type: 'llm',
  ...BODY,
  user_id: null,
  week_starts_on: 1,
  billing_day: 1,
  raise: null,
  created_at: MORNING,
  updated_at: MORNING,
}
const USER_QUOTA = { ...QUOTA, quota_id: 3, scope: 'user', user_id: 'u-17', limit_usd: 5, time_zone: 'UTC' }
const SANDBOX_QUOTA = {
  ...QUOTA,
  quota_id: 4,
  resource_type: 'e2b',
  period: 'month',
  limit_usd: 250,
  enforcement: 'warn',
  time_zone: 'UTC',
}
const DEFAULT = {
  scope: 'user',
  resource_type: 'llm',
  period: 'day',
  limit_usd: 5,
  enforcement: 'warn',
  from_environment: false,
  updated_at: MORNING,
}
const ONE = { quota_id: 1 }

export const QUOTAS: RoomExamples = {
  listQuotas: { answers: { 200: { means: 'A page of quotas.', value: { data: [QUOTA], next_cursor: null } } } },
  setQuota: {
    bodies: { quota: BODY },
    answers: {
      200: {
        means: 'The quota existed and has these settings now.',
        value: { ...QUOTA, updated_at: '2026-12-01T11:05:00Z' },
      },
      201: { means: 'The quota is new.', value: QUOTA },
    },
  },
  quotaStatus: {
    answers: {
      200: {
        means: 'Every quota of the scope that you asked for, with its balance.',
        value: {
          as_of: MORNING,
          data: [
            {
              quota_id: 1,
              scope: 'tenant',
              scope_id: 'acme',
              period: 'day',
              enforcement: 'enforce',
              limit_usd: 50,
              spent_usd: 4.75,
              reserved_usd: 0.25,
              remaining_usd: 45,
              reset_at: NEXT_DAY,
              resource_type: 'llm',
              percent_used: 9.5,
              period_starts_at: DAY,
              projected_usd: 12,
              largest_holders: [
                { tenant_id: 'acme', user_id: 'u-17', conversation_id: 'c-9', reserved_usd: 0.25, reservations: 1 },
              ],
            },
          ],
        },
      },
    },
  },
  setQuotas: {
    bodies: {
      quotas: {
        quotas: [
          { scope: 'user', tenant_id: 'acme', user_id: 'u-17', period: 'day', limit_usd: 5 },
          {
            resource_type: 'e2b',
            scope: 'tenant',
            tenant_id: 'acme',
            period: 'month',
            limit_usd: '250.00',
            enforcement: 'warn',
          },
        ],
      },
    },
    answers: {
      200: {
        means: 'All quotas have these settings now.',
        value: { data: [USER_QUOTA, SANDBOX_QUOTA], made: 2, changed: 0 },
      },
    },
  },
  readQuota: { parameters: ONE, answers: { 200: { means: 'The quota.', value: QUOTA } } },
  patchQuota: {
    parameters: ONE,
    bodies: {
      raise: { raise: { limit_usd: 80, until: '2026-12-05T00:00:00Z' } },
      endRaise: { raise: null },
      limit: { limit_usd: '60.00', enforcement: 'warn' },
    },
    answers: {
      200: {
        means: 'The quota with its new settings.',
        value: { ...QUOTA, raise: { limit_usd: 80, until: '2026-12-05T00:00:00Z' } },
      },
    },
  },
  deleteQuota: { parameters: ONE, answers: { 204: { means: 'The quota is deleted.' } } },
  quotaHistory: {
    parameters: ONE,
    answers: {
      200: {
        means: 'A page of periods.',
        value: {
          data: [
            { period_starts_at: DAY, period_ends_at: NEXT_DAY, limit_usd: 50, spent_usd: 4.75, reserved_usd: 0.25 },
          ],
          next_cursor: null,
        },
      },
    },
  },
  listQuotaDefaults: {
    answers: { 200: { means: 'A page of defaults.', value: { data: [DEFAULT], next_cursor: null } } },
  },
  putQuotaDefault: {
    bodies: { default: { scope: 'user', period: 'day', limit_usd: 5, enforcement: 'warn' } },
    answers: { 200: { means: 'The default counts from now on.', value: DEFAULT } },
  },
  deleteQuotaDefault: {
    parameters: { scope: 'user' },
    answers: { 204: { means: 'The default is deleted. Quotas that it created stay.' } },
  },
}
