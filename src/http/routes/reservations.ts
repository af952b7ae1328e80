import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { check } from '../../services/reservations/check.ts'
import { commit } from '../../services/reservations/commit.ts'
import { extend } from '../../services/reservations/extend.ts'
import { listReservations } from '../../services/reservations/list-reservations.ts'
import { readReservation } from '../../services/reservations/read-reservation.ts'
import { release } from '../../services/reservations/release.ts'
import { releaseAbandoned } from '../../services/reservations/release-abandoned.ts'
import { reserve } from '../../services/reservations/reserve.ts'
import {
  CheckAnswer,
  CommitAnswer,
  CommitBody,
  ExtendAnswer,
  ExtendBody,
  IdempotencyHeaders,
  ReleaseAnswer,
  ReleaseBody,
  Reservation,
  ReservationParams,
  ReservationsQuery,
  ReserveAnswer,
  ReserveBody,
} from '../../schemas/reservations.ts'
import { Page } from '../../schemas/common.ts'
import { isUuid, pageAnswer, readCursor } from '../cursor.ts'
import { goneCallers } from '../gone-callers.ts'
import { idempotencyKeyOf } from '../idempotency-key.ts'
import { ALL_ROLES, CALLERS } from '../plugins/auth.ts'
import { answers, heldAnswer, refusalAnswer, warnedAnswer } from '../problem-responses.ts'

/** Of answers that are JSON text already. */
const JSON_TYPE = 'application/json; charset=utf-8'

export function reservationRoutes(app: App, deps: Deps): void {
  const whenGone = goneCallers(app)

  app.post(
    '/v1/reservations',
    {
      config: { roles: CALLERS, limit: 'decisions', body: 'text' },
      schema: {
        tags: ['reservations'],
        operationId: 'reserve',
        summary: 'Hold an amount in every quota that applies, or in none',
        description:
          'Call this before a model or a sandbox. With an Idempotency-Key it is safe to retry: a repeated request gets the stored decision. A key belongs to its tenant and is kept for at least 7 days. ' +
          'Without a key nobody can claim a hold whose answer was lost, so the service releases a hold if its caller disconnected or got a 503. If the caller disconnects before the decision, nothing is held. ' +
          'A refusal is a 429 that lists every violated quota. The RateLimit headers describe the enforced quota that has the least left.',
        headers: IdempotencyHeaders,
        body: ReserveBody,
        response: answers({ 201: heldAnswer(ReserveAnswer), 429: refusalAnswer }),
      },
    },
    async (request, reply) => {
      const key = idempotencyKeyOf(request.headers['idempotency-key'])
      const { principal } = request
      const reserving = reserve(deps, principal, request.body, key, () => reply.sent || reply.raw.destroyed)
      // Nobody can claim a hold without a key once its caller has gone. A caller with a key will retry and find it.
      if (key === null) whenGone(reply, () => releaseAbandoned(deps, principal, reserving))
      const { body, headers } = await reserving
      return reply.code(201).headers(headers).type(JSON_TYPE).send(body)
    },
  )

  app.get(
    '/v1/reservations',
    {
      config: { roles: ALL_ROLES, limit: 'reads' },
      schema: {
        tags: ['reservations'],
        operationId: 'listReservations',
        summary: 'List reservations, newest first',
        description:
          'To filter by a label, send a parameter with its name: label.feature=chat. ' +
          'The order is by id, descending. Reservations made while you read the pages come before the first page, so you see every other reservation once. ' +
          'A page reads at most 250,000 reservations. It may therefore hold fewer than limit, even none, although next_cursor is not null.',
        querystring: ReservationsQuery,
        response: answers({ 200: Page(Reservation) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, ...filter } = request.query
      const page = await listReservations(deps, request.principal, filter, readCursor(cursor, isUuid), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/reservations/check',
    {
      config: { roles: CALLERS, limit: 'decisions', body: 'text' },
      schema: {
        tags: ['reservations'],
        operationId: 'check',
        summary: 'Ask whether a reservation would be made, without making it',
        description:
          'Takes the body of a reservation and holds nothing. If a quota does not allow it, the answer is still a 200: allowed is false, and violations says why. ' +
          'A default quota that the reservation would create has quota_id null.',
        body: ReserveBody,
        response: answers({ 200: warnedAnswer(CheckAnswer) }),
      },
    },
    async (request, reply) => {
      const { body, headers } = await check(deps, request.principal, request.body)
      return reply.headers(headers).type(JSON_TYPE).send(body)
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
    async (request, reply) => reply.send(await readReservation(deps, request.principal, request.params.id)),
  )

  app.post(
    '/v1/reservations/:id/commit',
    {
      config: { roles: CALLERS, limit: 'decisions', body: 'usage' },
      schema: {
        tags: ['reservations'],
        operationId: 'commit',
        summary: 'Book what the work really cost and give the hold back',
        description:
          'No quota refuses a commit, because the money is already spent. Sent again, the same commit gets the same answer; a different one is a 409.',
        params: ReservationParams,
        body: CommitBody,
        response: answers({ 200: CommitAnswer }),
      },
    },
    async (request, reply) =>
      reply.type(JSON_TYPE).send(await commit(deps, request.principal, request.params.id, request.body)),
  )

  app.post(
    '/v1/reservations/:id/extend',
    {
      config: { roles: CALLERS, limit: 'decisions' },
      schema: {
        tags: ['reservations'],
        operationId: 'extend',
        summary: 'Hold a reservation for longer, or for a larger amount',
        description:
          'Send new totals. Nothing is ever lowered, so a repeated request changes nothing. ' +
          'If a period of the hold has ended, the whole hold moves to the running period. A refusal is a 429 and leaves the hold as it was; ' +
          'its amounts are for the whole new total, and its reserved_usd is what other reservations hold.',
        params: ReservationParams,
        body: ExtendBody,
        response: answers({ 200: warnedAnswer(ExtendAnswer), 429: refusalAnswer }),
      },
    },
    async (request, reply) => {
      const { body, headers } = await extend(deps, request.principal, request.params.id, request.body)
      return reply.headers(headers).type(JSON_TYPE).send(body)
    },
  )

  app.post(
    '/v1/reservations/:id/release',
    {
      config: { roles: CALLERS, limit: 'decisions', optionalBody: true },
      schema: {
        tags: ['reservations'],
        operationId: 'release',
        summary: 'Give a hold back without booking a cost',
        params: ReservationParams,
        body: ReleaseBody,
        response: answers({ 200: ReleaseAnswer }),
      },
    },
    async (request, reply) => reply.send(await release(deps, request.principal, request.params.id, request.body)),
  )
}
