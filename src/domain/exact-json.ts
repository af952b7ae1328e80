import Big from 'big.js'
import { LONG_NUMBER_CHARACTERS } from './json-bounds.ts'

/** Matches a number with at least 16 digits in a row: a double may not hold them all. */
const LONG_NUMBER = /[0-9.]{16}/

/** Decimals that are kept of an amount. Further digits cannot change how it is rounded. */
const DECIMALS_MAX = 60
/** Every bound of the API refuses numbers above 1e30, so their digits need not be kept. */
const EXPONENT_MAX = 30
const DOWN = 0

/**
 * Parses JSON from a caller. A number that a double cannot hold becomes its decimal text in plain digits, so an
 * amount is taken exactly as written. Numbers with an exponent are treated the same, because programs write small
 * doubles that way.
 */
export function parseJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && source.length >= LONG_NUMBER_CHARACTERS
      ? exactNumber(value, source)
      : value,
  )
}

/**
 * Parses JSON that is written again later. Each number keeps the digits it was written with: JSON.stringify() writes
 * them unchanged.
 */
export function exactJson(text: string): unknown {
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? JSON.rawJSON(source) : value,
  )
}

function exactNumber(value: number, source: string): number | string {
  if (!Number.isFinite(value) || value === 0) return value
  const written = new Big(source)
  if (written.e > EXPONENT_MAX || written.eq(new Big(value))) return value
  return written.round(DECIMALS_MAX, DOWN).toFixed()
}
