import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { listEvents } from '../../services/alerts/events.ts'
import { Page } from '../../schemas/common.ts'
import { Event, EventsQuery } from '../../schemas/events.ts'
import { isUuid, pageAnswer, readCursor } from '../cursor.ts'
import { ALL_ROLES } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function eventRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/events',
    {
      config: { roles: ALL_ROLES, limit: 'reads' },
      schema: {
        tags: ['events'],
        operationId: 'listEvents',
        summary: 'List events, the last written first',
        description:
          'Each is told once: quota.warning for a threshold and quota.exceeded once a quota, period and change of the limit; quota.overrun, reservation.late and reservation.lapsed once a reservation; price.missing once a tenant, model and day, for 50 models a principal and day, and then once with more_than instead of a model; usage.unreadable (a commit whose usage could not be read, booked at the reserved amount) once a tenant, provider, place in the object and day, and usage.unread (a field that nothing reads) once a provider, field and day, both bounded likewise. ' +
          'from (inclusive) bounds created_at. A key that is bound to a tenant sees the events of that tenant.',
        querystring: EventsQuery,
        response: answers({ 200: Page(Event) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, ...filter } = request.query
      const after = readCursor(cursor, isUuid)
      const page = await listEvents(deps, request.principal, filter, after, limit)
      return reply.send(pageAnswer(page))
    },
  )
}
