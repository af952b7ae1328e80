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
        summary: 'Hold the estimated money in every quota that applies, or in none',
        description:
          'With an Idempotency-Key a repeat answers the stored decision; keys live 7 days at least, and belong to their tenant. Without one, a hold whose caller has gone or was told 503 is released; a request whose caller has gone before it was decided never is. A refusal is 429 with every violated quota. ' +
          'The RateLimit fields tell of the enforced quota that has least left, in micros of a USD.',
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
        summary: 'List reservations, the newest first',
        description:
          'A label is filtered by a parameter of its name: label.feature=chat. from (inclusive) and to (exclusive) bound created_at. ' +
          'The order is that of the ids, descending: what is reserved while you walk over the pages stands before the first one, so that you see every other reservation once. ' +
          'A page looks through 250,000 reservations at most: it may hold fewer than limit, even none, while next_cursor leads on.',
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
        summary: 'Ask what a reservation would be answered, and write nothing',
        description:
          'The body of a reservation. A refusal is an answer: allowed is false, and violations says why. A default quota ' +
          'that the reservation would make has quota_id null.',
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
        summary: 'Book what it really cost and give the hold back',
        description: 'Never refused for lack of quota. The same commit again answers the same.',
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
        summary: 'Hold a reservation for longer, or for a larger total',
        description:
          'New totals, never lower ones, so that a repeat changes nothing; expires_at becomes the later of the old one and now + ttl_seconds. ' +
          'After one of its periods has ended the whole hold moves to the running ones. A refusal is 429 and leaves the hold as it was; ' +
          'its amounts are about the whole of the new total, and reserved_usd is what others hold.',
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
        summary: 'Give an unused hold back',
        params: ReservationParams,
        body: ReleaseBody,
        response: answers({ 200: ReleaseAnswer }),
      },
    },
    async (request, reply) => reply.send(await release(deps, request.principal, request.params.id, request.body)),
  )
}
