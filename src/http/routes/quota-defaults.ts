import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { deleteQuotaDefault, listQuotaDefaults, putQuotaDefault } from '../../services/quotas/quota-defaults.ts'
import { ReasonHeaders } from '../../schemas/audit.ts'
import { Closed, Cursor, Limit, Page } from '../../schemas/common.ts'
import { QuotaDefault, QuotaDefaultBody, QuotaDefaultQuery } from '../../schemas/quotas.ts'
import { actorOf } from '../actor.ts'
import { isText, pageAnswer, readCursor } from '../cursor.ts'
import { ADMINS, READERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function quotaDefaultRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/quota-defaults',
    {
      config: { roles: READERS, limit: 'reads' },
      schema: {
        tags: ['quotas'],
        operationId: 'listQuotaDefaults',
        summary: 'List the quotas that new tenants and users get',
        querystring: Type.Object({ limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) }, Closed),
        response: answers({ 200: Page(QuotaDefault) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor } = request.query
      const page = await listQuotaDefaults(deps, readCursor(cursor, isText), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.put(
    '/v1/quota-defaults',
    {
      config: { roles: ADMINS, limit: 'admin', report: true },
      schema: {
        tags: ['quotas'],
        operationId: 'putQuotaDefault',
        summary: 'Create or change a default for all tenants or users, new and known',
        description:
          'Every tenant or user that is already known gets the new limit, too. A quota that an administrator set or deleted stays as it is.',
        headers: ReasonHeaders,
        body: QuotaDefaultBody,
        response: answers({ 200: QuotaDefault }),
      },
    },
    async (request, reply) => reply.send(await putQuotaDefault(deps, actorOf(request), request.body)),
  )

  app.delete(
    '/v1/quota-defaults',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['quotas'],
        operationId: 'deleteQuotaDefault',
        summary: 'Delete a default; the quotas that it created stay',
        querystring: QuotaDefaultQuery,
        headers: ReasonHeaders,
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      const { resource_type = 'llm', ...key } = request.query
      await deleteQuotaDefault(deps, actorOf(request), { ...key, resource_type })
      return reply.code(204).send()
    },
  )
}
