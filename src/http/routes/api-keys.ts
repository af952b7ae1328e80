import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { createKey, listKeys, revokeKey, rotateKey } from '../../services/keys/api-keys.ts'
import { ReasonHeaders } from '../../schemas/audit.ts'
import { ApiKey, ApiKeyBody, NewApiKey, RotateBody } from '../../schemas/api-keys.ts'
import { Closed, Cursor, Limit, Page, Uuid } from '../../schemas/common.ts'
import { actorOf } from '../actor.ts'
import { isUuid, pageAnswer, readCursor } from '../cursor.ts'
import { ADMINS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

const OVERLAP_SECONDS = 3_600

export function apiKeyRoutes(app: App, deps: Deps): void {
  app.post(
    '/v1/api-keys',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['keys'],
        operationId: 'createApiKey',
        summary: 'Create a key; only this answer shows its secret',
        headers: ReasonHeaders,
        body: ApiKeyBody,
        response: answers({ 201: NewApiKey }),
      },
    },
    async (request, reply) => reply.code(201).send(await createKey(deps, actorOf(request), request.body)),
  )

  app.get(
    '/v1/api-keys',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['keys'],
        operationId: 'listApiKeys',
        summary: 'List keys, without their secrets',
        querystring: Type.Object({ limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) }, Closed),
        response: answers({ 200: Page(ApiKey) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor } = request.query
      const page = await listKeys(deps, readCursor(cursor, isUuid), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/api-keys/:key_id/rotate',
    {
      config: { roles: ADMINS, limit: 'admin', optionalBody: true },
      schema: {
        tags: ['keys'],
        operationId: 'rotateApiKey',
        summary: 'Give a key a new secret, which only this answer shows',
        description:
          'The old secret works for overlap_seconds more, so that services have time to switch. The key_id stays the same, and so do the idempotency keys of its requests.',
        params: Type.Object({ key_id: Uuid }),
        headers: ReasonHeaders,
        body: RotateBody,
        response: answers({ 200: NewApiKey }),
      },
    },
    async (request, reply) =>
      reply.send(
        await rotateKey(deps, actorOf(request), request.params.key_id, request.body.overlap_seconds ?? OVERLAP_SECONDS),
      ),
  )

  app.delete(
    '/v1/api-keys/:key_id',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['keys'],
        operationId: 'revokeApiKey',
        summary: 'Revoke a key; it stops working within a second',
        headers: ReasonHeaders,
        params: Type.Object({ key_id: Uuid }),
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await revokeKey(deps, actorOf(request), request.params.key_id)
      return reply.code(204).send()
    },
  )
}
