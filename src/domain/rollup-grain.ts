import type { Dimension } from './grouping.ts'

/** The time spans that rollups have sums of: a quarter of an hour, a day or a month of UTC. */
export type RollupGrain = 'quarter' | 'day' | 'month'

const QUARTER_MICROS = 900_000_000n
const DAY_MICROS = 86_400_000_000n
/** Whether a quarter of an hour of the rollups begins at this moment. */
export function isWholeQuarter(micros: bigint): boolean {
  return micros % QUARTER_MICROS === 0n
}

/**
 * Before this moment, some time zones changed their clocks within a quarter of an hour (the last ones at one minute
 * past midnight). Since then, every hour, day, week and month of any zone begins on a quarter of an hour of UTC.
 */
const WHOLE_QUARTERS_SINCE_MICROS = BigInt(Date.UTC(2013, 0, 1)) * 1_000n

/**
 * The coarsest rollups whose spans each fall into one group of this grouping; null if no rollup does.
 *
 * @param shiftMicros how far lines of the previous span are moved to compare them with the span.
 * @param fromMicros the earliest moment of the query.
 */
export function coarsestGrain(
  dimensions: Dimension[],
  timeZone: string,
  shiftMicros: bigint,
  fromMicros: bigint,
): RollupGrain | null {
  if (dimensions.some(({ kind, name }) => kind === 'label' || ['user', 'conversation', 'path'].includes(name)))
    return null
  const bucket = dimensions.find(({ kind }) => kind === 'time')
  if (bucket === undefined) return 'month'
  const isUtc = /^(?:etc\/)?utc$/i.test(timeZone)
  if (!isUtc && fromMicros < WHOLE_QUARTERS_SINCE_MICROS) return null
  if (isUtc && bucket.name !== 'hour') {
    if (bucket.name === 'month' && shiftMicros === 0n) return 'month'
    if (shiftMicros % DAY_MICROS === 0n) return 'day'
  }
  return shiftMicros % QUARTER_MICROS === 0n ? 'quarter' : null
}
