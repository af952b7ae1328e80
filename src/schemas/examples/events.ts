import { DAY, MORNING, NEXT_DAY, type RoomExamples } from './operation.ts'

const ENDPOINT_ID = '01a230f0-9955-7641-bbe4-cf93a64ef407'
const DELIVERY_ID = '01a230f0-9955-7641-bbe4-cf94016afff3'
const SECRET = 'whsec_XpcNPyeS9Cw6I0VJtePqYlBeHfNZ5QYbs/P2QhOgh9k='

const BODY = {
  kind: 'webhook',
  url: 'https://hooks.acme.example/purser',
  types: ['quota.warning', 'quota.exceeded'],
  tenant_id: 'acme',
}
const ENDPOINT = {
  endpoint_id: ENDPOINT_ID,
  ...BODY,
  scope: null,
  enabled: true,
  created_at: MORNING,
  updated_at: MORNING,
}
const DELIVERY = {
  delivery_id: DELIVERY_ID,
  endpoint_id: ENDPOINT_ID,
  event_id: null,
  status: 'pending',
  attempts: 0,
  last_status: null,
  last_error: null,
  next_attempt_at: MORNING,
  created_at: MORNING,
  settled_at: null,
}
const FAILED = {
  ...DELIVERY,
  status: 'failed',
  attempts: 1,
  last_status: 503,
  last_error: 'answered 503',
  next_attempt_at: null,
  settled_at: '2026-12-01T09:30:02Z',
}
const ONE = { endpoint_id: ENDPOINT_ID }

export const EVENTS: RoomExamples = {
  listEvents: {
    parameters: { type: 'quota.exceeded' },
    answers: {
      200: {
        means: 'A page of events.',
        value: {
          data: [
            {
              event_id: '01a230f0-89c0-7dda-b808-b7b8d06acdef',
              type: 'quota.exceeded',
              created_at: MORNING,
              tenant_id: 'acme',
              user_id: 'u-17',
              quota_id: 3,
              data: {
                cause: 'refusal',
                resource_type: 'llm',
                scope: 'user',
                scope_id: 'u-17',
                period: 'day',
                enforcement: 'enforce',
                limit_usd: 5,
                spent_usd: 4.75,
                reserved_usd: 0,
                period_starts_at: DAY,
                period_ends_at: NEXT_DAY,
              },
            },
          ],
          next_cursor: null,
        },
      },
    },
  },
  listWebhookEndpoints: {
    answers: { 200: { means: 'A page of endpoints.', value: { data: [ENDPOINT], next_cursor: null } } },
  },
  createWebhookEndpoint: {
    bodies: {
      webhook: BODY,
      slack: { kind: 'slack', url: 'https://hooks.slack.com/services/T0/B0/x', types: [], scope: 'platform' },
      email: { kind: 'email', to: ['finance@acme.example'], types: ['quota.exceeded'] },
    },
    answers: {
      201: { means: 'Events are delivered there from now on.', value: { ...ENDPOINT, secret: SECRET } },
    },
  },
  readWebhookEndpoint: { parameters: ONE, answers: { 200: { means: 'The endpoint.', value: ENDPOINT } } },
  patchWebhookEndpoint: {
    parameters: ONE,
    bodies: { disable: { enabled: false }, types: { types: [], tenant_id: null } },
    answers: { 200: { means: 'The endpoint with its new settings.', value: { ...ENDPOINT, enabled: false } } },
  },
  deleteWebhookEndpoint: {
    parameters: ONE,
    answers: { 204: { means: 'The endpoint and its deliveries are deleted.' } },
  },
  rotateWebhookSecret: {
    parameters: ONE,
    bodies: { overlap: { overlap_seconds: 86_400 } },
    answers: { 200: { means: 'The endpoint with its new secret.', value: { ...ENDPOINT, secret: SECRET } } },
  },
  testWebhookEndpoint: {
    parameters: ONE,
    answers: { 202: { means: 'The test will be sent within seconds.', value: DELIVERY } },
  },
  listDeliveries: {
    parameters: { ...ONE, status: 'failed' },
    answers: { 200: { means: 'A page of deliveries.', value: { data: [FAILED], next_cursor: null } } },
  },
  redeliver: {
    parameters: { delivery_id: DELIVERY_ID },
    answers: { 202: { means: 'The delivery will be sent again within seconds.', value: DELIVERY } },
  },
}
