import Big from 'big.js'
import { LONG_NUMBER_CHARACTERS } from './json-bounds.ts'

/** A number whose text may say more than a double holds: sixteen digits or more in a row. */
const LONG_NUMBER = /[0-9.]{16}/

/** Of an amount; what is beyond them decides no rounding. */
const DECIMALS_MAX = 60
/** Beyond 1e30 every bound refuses a number, so it needs no digits. */
const EXPONENT_MAX = 30
const DOWN = 0

/**
 * JSON in: a number that a double can't hold is kept as its decimal text in plain digits, so that an amount is taken by
 * what was written. How it is written says nothing: programs write the doubles of small amounts with an exponent.
 */
export function parseJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && source.length >= LONG_NUMBER_CHARACTERS
      ? exactNumber(value, source)
      : value,
  )
}

/** JSON to be passed on: its numbers as they are written, all their digits, where JSON.stringify() writes them again. */
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
