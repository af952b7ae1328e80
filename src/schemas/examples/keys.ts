import { MORNING, type RoomExamples } from './operation.ts'

const KEY_ID = '01a230f0-9955-7641-bbe4-cf928961ea91'

const BODY = {
  name: 'chat-service',
  role: 'service',
  tenant_id: 'acme',
  max_record_usd_per_day: 100,
  expires_at: '2027-12-01T00:00:00Z',
}
const KEY = {
  key_id: KEY_ID,
  prefix: 'psr_nZC7i2Dk',
  ...BODY,
  created_at: MORNING,
  last_used_at: null,
  revoked_at: null,
}
// Shortened: this is no key.
const NEW_KEY = { ...KEY, key: 'psr_nZC7i2Dk_the_rest_of_the_secret' }
const QUOTA = {
  resource_type: 'llm',
  scope: 'tenant',
  tenant_id: 'acme',
  user_id: null,
  quota_id: 1,
  period: 'day',
  enforcement: 'enforce',
  thresholds: [0.8, 0.9],
  time_zone: 'Europe/Dublin',
  week_starts_on: 1,
  billing_day: 1,
  raise: null,
}

export const KEYS: RoomExamples = {
  createApiKey: {
    bodies: { service: BODY, viewer: { name: 'finance dashboard', role: 'viewer' } },
    answers: { 201: { means: 'The key works from now on.', value: NEW_KEY } },
  },
  listApiKeys: { answers: { 200: { means: 'A page of keys.', value: { data: [KEY], next_cursor: null } } } },
  rotateApiKey: {
    parameters: { key_id: KEY_ID },
    bodies: { overlap: { overlap_seconds: 3_600 } },
    answers: { 200: { means: 'The key with its new secret.', value: NEW_KEY } },
  },
  revokeApiKey: {
    parameters: { key_id: KEY_ID },
    answers: { 204: { means: 'The key is revoked. It stops working within a second.' } },
  },
  listAuditLog: {
    parameters: { action: 'quota.update', principal: `key:${KEY_ID}` },
    answers: {
      200: {
        means: 'A page of entries.',
        value: {
          data: [
            {
              audit_id: 5,
              at: MORNING,
              principal: `key:${KEY_ID}`,
              ip: '10.0.4.17',
              action: 'quota.update',
              subject: 'quota:1',
              before: { ...QUOTA, limit_usd: 40 },
              after: { ...QUOTA, limit_usd: 50 },
              reason: 'contract of December',
              hash: '57c4ee1a41cd90dc6e135350033f12a25f819e6d8c2db2dc7d3e90424f9b9e2d',
              previous_hash: '9708c792e98533beb846215f8247eb7b7c0aeb26067a4e503be5b8bc5ae3ea33',
            },
          ],
          next_cursor: 'NQ',
        },
      },
    },
  },
}
