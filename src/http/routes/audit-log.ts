import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { listAudit } from '../../services/keys/audit.ts'
import { readInstant } from '../../domain/instant.ts'
import { AuditEntry, AuditQuery } from '../../schemas/audit.ts'
import { Page } from '../../schemas/common.ts'
import { isRowNumber, pageAnswer, readCursor } from '../cursor.ts'
import { ADMINS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function auditLogRoutes(app: App, deps: Deps): void {
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
      const page = await listAudit(
        deps,
        { ...filter, ...(from && { from: readInstant(from) }) },
        readCursor(cursor, isRowNumber),
        limit,
      )
      return reply.send(pageAnswer(page))
    },
  )
}
