import type { Db } from '../../db/pool/connection.ts'
import { listEvents as readEvents, type StoredEvent } from '../../db/alerts/events.ts'
import { epochMicros, readInstant } from '../../domain/instant.ts'
import type { EventsQuery } from '../../schemas/events.ts'
import { timeText, usdJson } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'
import { tenantFilter, type Principal } from '../keys/principal.ts'

/** Lists events, the last written first. @throws forbidden for another tenant. */
export async function listEvents(
  { db }: { db: Db },
  principal: Principal,
  query: EventsQuery,
  after: string | null,
  limit: number,
): Promise<PageOf<string>> {
  const filter = {
    type: query.type,
    tenantId: tenantFilter(principal, query.tenant_id),
    fromMicros: query.from === undefined ? undefined : epochMicros(readInstant(query.from)),
  }
  const events = await readEvents(db, filter, after, limit + 1)
  return pageOf(events, limit, eventAnswer, (last) => last.event_id)
}

function eventAnswer(event: StoredEvent): object {
  return {
    ...event,
    created_at: timeText(event.created_at),
    quota_id: event.quota_id === null ? null : Number(event.quota_id),
    data: eventData(event.data),
  }
}

/**
 * The data of an event in the form of answers and deliveries. The suffix of a field's name decides: amounts become exact
 * numbers, times RFC 3339.
 */
export function eventData(data: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, dataAnswer(name, value)]))
}

function dataAnswer(name: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => dataAnswer(name, one))
  if (typeof value === 'object' && value !== null) return eventData(value as Record<string, unknown>)
  if (typeof value !== 'string') return value
  if (name.endsWith('_usd')) return usdJson(value)
  return name.endsWith('_at') ? timeText(value) : value
}
