import type { App } from '../app-type.ts'
import type { Services } from '../../services/index.ts'
import { readInstant } from '../../domain/instant.ts'
import { AuditEntry, AuditQuery } from '../../schemas/audit.ts'
import { Page } from '../../schemas/common.ts'
import { isRowNumber, makeCursor, readCursor } from '../cursor.ts'
import { ADMINS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function auditLogRoutes(app: App, services: Services): void {
  app.get(
    '/v1/audit-log',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['audit'],
        operationId: 'listAuditLog',
        summary: 'List what administrators changed, newest first',
        description: 'Each entry holds the hash of the entry before it; npm run audit -- verify checks them.',
        querystring: AuditQuery,
        response: answers({ 200: Page(AuditEntry) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, from, ...filter } = request.query
      const { data, next } = await services.listAudit(
        { ...filter, ...(from && { from: readInstant(from) }) },
        readCursor(cursor, isRowNumber),
        limit,
      )
      return reply.send({ data, next_cursor: next === null ? null : makeCursor(next) })
    },
  )
}
