import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { quotaHistory } from '../../services/quotas/quota-history.ts'
import { quotaStatus } from '../../services/quotas/quota-status.ts'
import { deleteQuota, listQuotas, patchQuota, readQuota, setQuota, setQuotas } from '../../services/quotas/quotas.ts'
import { ReasonHeaders } from '../../schemas/audit.ts'
import { Closed, Cursor, Id, Limit, Page, Period, ResourceType, Scope } from '../../schemas/common.ts'
import {
  Quota,
  QuotaBody,
  QuotaParams,
  QuotaPatch,
  QuotaPeriod,
  QuotasAnswer,
  QuotasBody,
  QuotaStatus,
} from '../../schemas/quotas.ts'
import { actorOf } from '../actor.ts'
import { isMicros, isRowNumber, pageAnswer, readCursor } from '../cursor.ts'
import { ADMINS, ALL_ROLES, READERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function quotaRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/quotas',
    {
      config: { roles: READERS, limit: 'reads' },
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
      const page = await listQuotas(deps, request.principal, filter, readCursor(cursor, isRowNumber), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.put(
    '/v1/quotas',
    {
      config: { roles: ADMINS, limit: 'admin', report: true },
      schema: {
        tags: ['quotas'],
        operationId: 'setQuota',
        summary: 'Create a quota (201), or change the one with the same natural key (200)',
        description:
          'The natural key is resource_type, scope, tenant_id, user_id and period. A setting that is left out gets its default.',
        headers: ReasonHeaders,
        body: QuotaBody,
        response: answers({ 200: Quota, 201: Quota }),
      },
    },
    async (request, reply) => {
      const { made, quota } = await setQuota(deps, actorOf(request), request.body)
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
        summary: 'Read what is spent, held and left of each quota that applies',
        description:
          'The amounts may come from a cache; as_of says when they were read. Cache-Control: no-cache reads them from Postgres.',
        querystring: Type.Object(
          { tenant_id: Type.Optional(Id), user_id: Type.Optional(Id), resource_type: Type.Optional(ResourceType) },
          Closed,
        ),
        response: answers({ 200: QuotaStatus }),
      },
    },
    async (request, reply) => {
      const fresh = /\bno-cache\b/i.test(request.headers['cache-control'] ?? '')
      return reply.send(await quotaStatus(deps, request.principal, request.query, fresh))
    },
  )

  app.put(
    '/v1/quotas/bulk',
    {
      config: { roles: ADMINS, limit: 'admin', report: true, body: 'bulk' },
      schema: {
        tags: ['quotas'],
        operationId: 'setQuotas',
        summary: 'Create or change up to 1,000 quotas by their natural keys: all or none',
        headers: ReasonHeaders,
        body: QuotasBody,
        response: answers({ 200: QuotasAnswer }),
      },
    },
    async (request, reply) => reply.send(await setQuotas(deps, actorOf(request), request.body.quotas)),
  )

  app.get(
    '/v1/quotas/:quota_id',
    {
      config: { roles: READERS, limit: 'reads' },
      schema: {
        tags: ['quotas'],
        operationId: 'readQuota',
        summary: 'Read a quota',
        params: QuotaParams,
        response: answers({ 200: Quota }),
      },
    },
    async (request, reply) => reply.send(await readQuota(deps, request.principal, request.params.quota_id)),
  )

  app.patch(
    '/v1/quotas/:quota_id',
    {
      config: { roles: ADMINS, limit: 'admin', report: true },
      schema: {
        tags: ['quotas'],
        operationId: 'patchQuota',
        summary: 'Change some settings of a quota',
        description:
          'A setting that is left out stays as it is. `"raise": null` ends a raise. The natural key never changes.',
        params: QuotaParams,
        headers: ReasonHeaders,
        body: QuotaPatch,
        response: answers({ 200: Quota }),
      },
    },
    async (request, reply) =>
      reply.send(await patchQuota(deps, actorOf(request), request.params.quota_id, request.body)),
  )

  app.delete(
    '/v1/quotas/:quota_id',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['quotas'],
        operationId: 'deleteQuota',
        summary: 'Delete a quota',
        description:
          'Open holds settle in its closed balance. No default creates it again. A PUT with the same natural key restores it.',
        params: QuotaParams,
        headers: ReasonHeaders,
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await deleteQuota(deps, actorOf(request), request.params.quota_id)
      return reply.code(204).send()
    },
  )

  app.get(
    '/v1/quotas/:quota_id/history',
    {
      config: { roles: READERS, limit: 'reads' },
      schema: {
        tags: ['quotas'],
        operationId: 'quotaHistory',
        summary: 'List the periods of a quota, the running one first',
        description: 'Past periods in which nothing was spent or held are left out.',
        params: QuotaParams,
        querystring: Type.Object({ limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) }, Closed),
        response: answers({ 200: Page(QuotaPeriod) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor } = request.query
      const before = readCursor(cursor, isMicros)
      const page = await quotaHistory(deps, request.principal, request.params.quota_id, before, limit)
      return reply.send(pageAnswer(page))
    },
  )
}
