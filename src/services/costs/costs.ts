import { readClockMicros, sumCosts, type CostSums } from '../../db/costs/costs.ts'
import { isInvalidParameter } from '../../db/pool/faults.ts'
import { readReport, type Db } from '../../db/pool/connection.ts'
import { GroupingError, parseGrouping, type Dimension } from '../../domain/grouping.ts'
import { invalidRequest } from '../../errors.ts'
import type { CostsQuery } from '../../schemas/costs.ts'
import { timeText, usdJson } from '../answers.ts'
import { archivedProblem } from '../archives/archived.ts'
import { pageOf } from '../page.ts'
import type { Principal } from '../keys/principal.ts'
import { recordFilter } from './record-filter.ts'

const DEFAULT_SPAN_MICROS = 30n * 86_400_000_000n
const MICROS_PER_MS = 1_000n

/** Where the next page of groups begins. It includes the range, because a default range would move with the clock. */
export type CostsPosition = { fromMicros: string; toMicros: string; place: (string | null)[] }

/**
 * Sums costs exactly, in total and by the dimensions of `group_by`. The default range is the last 30 days by Postgres's
 * clock. Groups are in the order of their keys, or with `top` the most expensive first.
 *
 * @throws forbidden for another tenant; invalidRequest; archived if the answer needs records that have left the database.
 */
export async function readCosts(
  { db }: { db: Db },
  principal: Principal,
  { limit = 100, top, time_zone: timeZone = 'UTC', compare, group_by: groupBy, ...query }: CostsQuery,
  after: CostsPosition | null,
): Promise<{ answer: object; next: CostsPosition | null }> {
  const filter = recordFilter(principal, query)
  const dimensions = groupBy === undefined ? [] : readGrouping(groupBy)
  // Without dimensions there is only one page, so a cursor cannot belong to this query.
  const isOther = dimensions.length === 0 || after?.place.length !== dimensions.length
  if (after !== null && (top !== undefined || isOther)) {
    const message =
      top === undefined ? 'belongs to another group_by' : 'cannot be combined with top, which has only one page'
    throw invalidRequest([{ pointer: 'cursor', message }])
  }
  const groupsMax = dimensions.length === 0 ? 0 : (top ?? limit)
  try {
    return await readReport(db, filter.tenantId ?? null, async (transaction) => {
      const range = await costRange(filter, after, () => readClockMicros(transaction))
      const { total, groups, missing } = await sumCosts(transaction, {
        ...range,
        filter,
        comparesPrevious: compare !== undefined,
        dimensions,
        timeZone,
        dearestFirst: top !== undefined,
        after: after?.place ?? null,
        groupsMax: top === undefined ? groupsMax + 1 : groupsMax,
      })
      if (missing.length > 0) throw archivedProblem(missing)
      const sums = (of: CostSums) => sumsAnswer(of, compare !== undefined)
      const page = pageOf(
        groups,
        groupsMax,
        (group) => ({
          key: Object.fromEntries(dimensions.map(({ name }, index) => [name, group.key[index]])),
          ...sums(group),
        }),
        ({ place }) => ({ fromMicros: String(range.fromMicros), toMicros: String(range.toMicros), place }),
      )
      return {
        answer: {
          from: timeTextOfMicros(range.fromMicros),
          to: timeTextOfMicros(range.toMicros),
          time_zone: timeZone,
          total: sums(total),
          groups: page.data,
        },
        next: page.next,
      }
    })
  } catch (error) {
    if (isInvalidParameter(error)) {
      throw invalidRequest([{ pointer: 'time_zone', message: 'is not known to the database' }])
    }
    throw error
  }
}

function readGrouping(text: string): Dimension[] {
  try {
    return parseGrouping(text)
  } catch (error) {
    if (error instanceof GroupingError) throw invalidRequest([{ pointer: 'group_by', message: error.message }])
    throw error
  }
}

export type Range = { fromMicros: bigint; toMicros: bigint }

/**
 * Works out the range in microseconds. Uses the first page's range if there is one. Default: until now, from 30 days before
 * the end.
 */
export async function costRange(
  filter: Partial<Record<keyof Range, bigint | undefined>>,
  after: CostsPosition | null,
  readClock: () => Promise<bigint>,
): Promise<Range> {
  if (after !== null) return { fromMicros: BigInt(after.fromMicros), toMicros: BigInt(after.toMicros) }
  const { fromMicros } = filter
  const toMicros = filter.toMicros ?? justAfter(await readClock())
  if (fromMicros === undefined) return { fromMicros: toMicros - DEFAULT_SPAN_MICROS, toMicros }
  return { fromMicros, toMicros: fromMicros > toMicros ? fromMicros : toMicros }
}

/** Rounds up to the next whole millisecond, as answers show it, so that everything until now is before the end. */
function justAfter(micros: bigint): bigint {
  return (micros / MICROS_PER_MS + 1n) * MICROS_PER_MS
}

function timeTextOfMicros(micros: bigint): string {
  return timeText(new Date(Number(micros / MICROS_PER_MS)))
}

function sumsAnswer(sums: CostSums, comparesPrevious: boolean): object {
  return {
    cost_usd: usdJson(sums.cost_usd),
    ...(comparesPrevious ? { previous_cost_usd: usdJson(sums.previous_cost_usd) } : {}),
    records: JSON.rawJSON(sums.records),
    input_tokens: JSON.rawJSON(sums.input_tokens),
    output_tokens: JSON.rawJSON(sums.output_tokens),
    seconds: usdJson(sums.seconds),
  }
}
