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

function microsOfMillis(millis: number, text: string): bigint {
  if (!Number.isFinite(millis)) throw new RangeError(`not an instant: ${text}`)
  return BigInt(millis) * 1000n
}
