const RFC_3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/

/**
 * Converts to microseconds since 1970-01-01T00:00:00Z, the precision of Postgres. Finer digits are cut off.
 *
 * @throws RangeError for text that is not RFC 3339 with a zone, or not a real date.
 */
export function epochMicros(at: Date | string): bigint {
  if (at instanceof Date) return microsOfMillis(at.getTime(), String(at))
  const [, toTheSecond, fraction = '', zone] = RFC_3339.exec(at) ?? []
  const micros = microsOfMillis(Date.parse(`${toTheSecond}${zone}`), at)
  return micros + BigInt(fraction.padEnd(6, '0').slice(0, 6))
}

/**
 * Whether a moment lies between `from` (inclusive) and `until` (exclusive; null: no end). Text is compared to the
 * microsecond. Every reservation passes a Date, which has whole milliseconds and is compared the cheaper way.
 *
 * @throws RangeError for text that is not RFC 3339 with a zone, or not a real date.
 */
export function isWithin(at: Date | string, from: string, until: string | null): boolean {
  if (at instanceof Date)
    return Date.parse(from) <= at.getTime() && (until === null || at.getTime() < Date.parse(until))
  const moment = epochMicros(at)
  return epochMicros(from) <= moment && (until === null || moment < epochMicros(until))
}

/** An instant exactly as a caller wrote it. The type makes the compiler accept it nowhere but in readInstant(). */
export interface SpelledInstant {
  readonly spelledInstant: never
}

/** Marks text from the command line as an instant that readInstant() must still parse. */
export const spelledInstant = (text: string) => text as unknown as SpelledInstant

/**
 * Converts a caller's instant to RFC 3339 in UTC, cut off at microseconds. Cut here because some programs write seven
 * digits: Postgres would round them, perhaps into the next day, and JavaScript would cut them.
 *
 * @throws RangeError for text that is not RFC 3339 with a zone, or not a real date. The schemas refuse such text
 * first.
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
