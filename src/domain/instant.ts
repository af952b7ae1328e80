const RFC_3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/

/**
 * Microseconds since 1970-01-01T00:00:00Z, the precision of Postgres; finer digits are cut.
 *
 * @throws RangeError for a text that is not RFC 3339 with a zone, or not a date.
 */
export function epochMicros(at: Date | string): bigint {
  if (at instanceof Date) return microsOfMillis(at.getTime(), String(at))
  const [, toTheSecond, fraction = '', zone] = RFC_3339.exec(at) ?? []
  const micros = microsOfMillis(Date.parse(`${toTheSecond}${zone}`), at)
  return micros + BigInt(fraction.padEnd(6, '0').slice(0, 6))
}

/**
 * Whether a moment lies from one time, inclusive, to another, exclusive (null: without an end). A text is compared to the
 * microsecond. A Date, which each reservation asks for, has whole milliseconds: that is cheaper.
 *
 * @throws RangeError for a text that is not RFC 3339 with a zone, or not a date.
 */
export function isWithin(at: Date | string, from: string, until: string | null): boolean {
  if (at instanceof Date)
    return Date.parse(from) <= at.getTime() && (until === null || at.getTime() < Date.parse(until))
  const moment = epochMicros(at)
  return epochMicros(from) <= moment && (until === null || moment < epochMicros(until))
}

/** An instant in a caller's words: a string that the compiler lets nothing but readInstant() take as one. */
export interface SpelledInstant {
  readonly spelledInstant: never
}

/** An instant in the words of whoever runs a command. */
export const spelledInstant = (text: string) => text as unknown as SpelledInstant

/**
 * An instant of a caller in the one form that the rest works with: RFC 3339 in UTC, cut to microseconds. Some programs write
 * seven digits: Postgres would round them, perhaps into the next day, and JavaScript would cut them.
 *
 * @throws RangeError for a text that is not RFC 3339 with a zone, or not a date; the schemas refuse it before.
 */
export function readInstant(spelled: SpelledInstant | string): string {
  const [, toTheSecond, fraction = '', zone] = RFC_3339.exec((spelled as string).toUpperCase()) ?? []
  const second = new Date(`${toTheSecond}${zone}`).toISOString().slice(0, 19)
  const micros = fraction.slice(0, 6).replace(/0+$/, '')
  return micros === '' ? `${second}Z` : `${second}.${micros}Z`
}

function microsOfMillis(millis: number, text: string): bigint {
  if (!Number.isFinite(millis)) throw new RangeError(`not an instant: ${text}`)
  return BigInt(millis) * 1000n
}
