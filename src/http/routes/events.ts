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
        summary: 'List events, newest first',
        description:
          'Each event is emitted once. quota.warning: once for a threshold, quota, period and change of the limit. quota.exceeded: once for a quota, period and change of the limit. ' +
          'quota.overrun, reservation.late and reservation.lapsed: once for a reservation. ' +
          'price.missing: once for a tenant, model and day, for up to 50 models of a principal in a day, and then once with more_than instead of a model. ' +
          'usage.unreadable (the usage of a commit could not be read, and the reserved amount was booked): once for a tenant, provider, place in the object and day. usage.unread (no rule reads a field): once for a provider, field and day. Both have the same bound. ' +
          'A key that is bound to a tenant sees the events of that tenant only.',
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
