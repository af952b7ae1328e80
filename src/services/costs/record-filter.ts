import type { RecordFilter } from '../../db/costs/cost-records.ts'
import { epochMicros, readInstant, type SpelledInstant } from '../../domain/instant.ts'
import { invalidRequest } from '../../errors.ts'
import type { CostFilter } from '../../schemas/costs.ts'
import { tenantFilter, type Principal } from '../keys/principal.ts'

const LABEL_PREFIX = 'label.'

/**
 * Makes the filter of a query. A principal bound to a tenant sees only that tenant's records.
 *
 * @throws forbidden for another tenant; invalidRequest if `from` is after `to`.
 */
export function recordFilter(principal: Principal, query: CostFilter): RecordFilter {
  return {
    resourceType: query.resource_type,
    tenantId: tenantFilter(principal, query.tenant_id),
    userId: query.user_id,
    conversationId: query.conversation_id,
    pathId: query.path_id,
    labels: labelsOf(query),
    provider: query.provider,
    model: query.model,
    tier: query.tier,
    reservationId: query.reservation_id,
    ...spanOf(query),
    late: query.late,
    overrun: query.overrun,
    estimated: query.estimated,
  }
}

/** Reads a time range, in microseconds since 1970. @throws invalidRequest if `from` is after `to`. */
export function spanOf(query: { from?: SpelledInstant; to?: SpelledInstant }): {
  fromMicros: bigint | undefined
  toMicros: bigint | undefined
} {
  const fromMicros = microsOf(query.from)
  const toMicros = microsOf(query.to)
  if (fromMicros !== undefined && toMicros !== undefined && fromMicros > toMicros) {
    throw invalidRequest([{ pointer: 'from', message: 'must not be after to' }])
  }
  return { fromMicros, toMicros }
}

/** Reads the label filters of a query, given as parameters such as label.feature=chat. */
export function labelsOf(query: object): Record<string, string> {
  const entries = Object.entries(query) as [string, string][]
  return Object.fromEntries(
    entries
      .filter(([name]) => name.startsWith(LABEL_PREFIX))
      .map(([name, value]) => [name.slice(LABEL_PREFIX.length), value]),
  )
}

function microsOf(time: SpelledInstant | undefined): bigint | undefined {
  return time === undefined ? undefined : epochMicros(readInstant(time))
}
