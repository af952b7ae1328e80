import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Services } from '../../services/index.ts'
import { Closed, Cursor, Id, Limit, Page, Period, ResourceType, Scope } from '../../schemas/common.ts'
import { Quota, QuotaBody, QuotaStatus } from '../../schemas/quotas.ts'
import { makeCursor, readCursor } from '../cursor.ts'
import { ADMINS, ALL_ROLES } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

const isQuotaId = (value: unknown): value is number => Number.isSafeInteger(value)

export function quotaRoutes(app: App, services: Services): void {
  app.get(
    '/v1/quotas',
    {
      config: { roles: ALL_ROLES, limit: 'reads' },
      schema: {
        tags: ['quotas'],
        operationId: 'listQuotas',
        summary: 'List quotas',
        querystring: Type.Object(
          {
            scope: Type.Optional(Scope),
            tenant_id: Type.Optional(Id),
            user_id: Type.Optional(Id),
            resource_type: Type.Optional(ResourceType),
            period: Type.Optional(Period),
            limit: Type.Optional(Limit),
            cursor: Type.Optional(Cursor),
          },
          Closed,
        ),
        response: answers({ 200: Page(Quota) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, ...filter } = request.query
      const { data, next } = await services.listQuotas(request.principal, filter, readCursor(cursor, isQuotaId), limit)
      return reply.send({ data, next_cursor: next === null ? null : makeCursor(next) })
    },
  )

  app.put(
    '/v1/quotas',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['quotas'],
        operationId: 'setQuota',
        summary: 'Make a quota (201), or change the one with the same natural key (200)',
        description:
          'The natural key is resource_type, scope with its ids, and period. What is left out takes its default.',
        body: QuotaBody,
        response: answers({ 200: Quota, 201: Quota }),
      },
    },
    async (request, reply) => {
      const { made, quota } = await services.setQuota(request.body)
      return reply.code(made ? 201 : 200).send(quota)
    },
  )

  app.get(
    '/v1/quotas/status',
    {
      config: { roles: ALL_ROLES, limit: 'reads' },
      schema: {
        tags: ['quotas'],
        operationId: 'quotaStatus',
        summary: 'What is spent, held and left of each quota that applies',
        description: 'May be cached for a short time, as as_of says; Cache-Control: no-cache asks Postgres.',
        querystring: Type.Object(
          { tenant_id: Type.Optional(Id), user_id: Type.Optional(Id), resource_type: Type.Optional(ResourceType) },
          Closed,
        ),
        response: answers({ 200: QuotaStatus }),
      },
    },
    async (request, reply) => {
      const fresh = /\bno-cache\b/i.test(request.headers['cache-control'] ?? '')
      return reply.send(await services.quotaStatus(request.principal, request.query, fresh))
    },
  )
}
