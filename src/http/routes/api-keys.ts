import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Services } from '../../services/index.ts'
import { ReasonHeaders } from '../../schemas/audit.ts'
import { ApiKey, ApiKeyBody, NewApiKey } from '../../schemas/api-keys.ts'
import { Closed, Cursor, Limit, Page, Uuid } from '../../schemas/common.ts'
import { actorOf } from '../actor.ts'
import { makeCursor, readCursor } from '../cursor.ts'
import { ADMINS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

const isKeyId = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f-]{36}$/.test(value)

export function apiKeyRoutes(app: App, services: Services): void {
  app.post(
    '/v1/api-keys',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['keys'],
        operationId: 'createApiKey',
        summary: 'Make a key; its secret is in this answer only',
        headers: ReasonHeaders,
        body: ApiKeyBody,
        response: answers({ 201: NewApiKey }),
      },
    },
    async (request, reply) => reply.code(201).send(await services.createKey(actorOf(request), request.body)),
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
      const { data, next } = await services.listKeys(readCursor(cursor, isKeyId), limit)
      return reply.send({ data, next_cursor: next === null ? null : makeCursor(next) })
    },
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
      await services.revokeKey(actorOf(request), request.params.key_id)
      return reply.code(204).send()
    },
  )
}
