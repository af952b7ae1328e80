import type { App } from '../app-type.ts'
import type { Services } from '../../services/index.ts'
import {
  CommitAnswer,
  CommitBody,
  ReleaseAnswer,
  ReleaseBody,
  Reservation,
  ReservationParams,
  ReserveAnswer,
  ReserveBody,
} from '../../schemas/reservations.ts'
import { idempotencyKeyOf } from '../idempotency-key.ts'
import { ALL_ROLES, CALLERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function reservationRoutes(app: App, services: Services): void {
  app.post(
    '/v1/reservations',
    {
      config: { roles: CALLERS, limit: 'decisions' },
      schema: {
        tags: ['reservations'],
        operationId: 'reserve',
        summary: 'Hold the estimated money in every quota that applies, or in none',
        description:
          'With an Idempotency-Key a repeat answers the stored decision; keys live 7 days. A refusal is 429 with every violated quota. ' +
          'The RateLimit fields tell of the enforced quota that has least left, in micros of a USD.',
        body: ReserveBody,
        response: answers({ 201: ReserveAnswer }),
      },
    },
    async (request, reply) => {
      const key = idempotencyKeyOf(request.headers['idempotency-key'])
      const { body, headers } = await services.reserve(request.principal, request.body, key)
      return reply.code(201).headers(headers).send(body)
    },
  )

  app.get(
    '/v1/reservations/:id',
    {
      config: { roles: ALL_ROLES, limit: 'reads' },
      schema: {
        tags: ['reservations'],
        operationId: 'readReservation',
        summary: 'Read a reservation',
        params: ReservationParams,
        response: answers({ 200: Reservation }),
      },
    },
    async (request, reply) => reply.send(await services.readReservation(request.principal, request.params.id)),
  )

  app.post(
    '/v1/reservations/:id/commit',
    {
      config: { roles: CALLERS, limit: 'decisions' },
      schema: {
        tags: ['reservations'],
        operationId: 'commit',
        summary: 'Book what it really cost and give the hold back',
        description: 'Never refused for lack of quota. The same commit again answers the same.',
        params: ReservationParams,
        body: CommitBody,
        response: answers({ 200: CommitAnswer }),
      },
    },
    async (request, reply) => reply.send(await services.commit(request.principal, request.params.id, request.body)),
  )

  app.post(
    '/v1/reservations/:id/release',
    {
      config: { roles: CALLERS, limit: 'decisions' },
      schema: {
        tags: ['reservations'],
        operationId: 'release',
        summary: 'Give an unused hold back',
        params: ReservationParams,
        body: ReleaseBody,
        response: answers({ 200: ReleaseAnswer }),
      },
      // A release without a body gives no reason.
      preValidation: async (request) => {
        request.body ??= {}
      },
    },
    async (request, reply) => reply.send(await services.release(request.principal, request.params.id, request.body)),
  )
}
