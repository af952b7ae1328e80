import type { RoomExamples } from './operation.ts'

export const OPERATIONS: RoomExamples = {
  readIntegrity: {
    answers: {
      200: { means: 'The result of the check, also if the books are broken.', value: { healthy: true, broken: [] } },
    },
  },
  health: { answers: { 200: { means: 'The process answers.', value: { status: 'ok' } } } },
  readiness: {
    answers: {
      200: {
        means: 'The service can decide.',
        value: { status: 'ready', checks: { postgres: 'up', migrations: 'up', redis: 'not configured' } },
      },
      503: {
        means: 'The service cannot decide now.',
        value: { status: 'unready', checks: { postgres: 'down', migrations: 'unknown', redis: 'up' } },
      },
    },
  },
  problem: {
    parameters: { code: 'quota-exceeded' },
    answers: {
      200: {
        means: 'The explanation.',
        value: {
          type: '/problems/quota-exceeded',
          status: 429,
          title: 'Quota exceeded',
          description:
            'A quota does not allow the amount; violations[] lists each. Retry-After says when waiting can help.',
        },
      },
    },
  },
}
