import Big from 'big.js'

/**
 * USD as an exact decimal. Amounts never pass through binary floating point: numbers enter by their shortest decimal
 * text and leave as text.
 */
export type Usd = Big

/** The decimals of an amount. Finer amounts are rounded half up. */
const USD_DECIMALS = 12

/** The exclusive upper bound for amounts in requests, in USD. */
const AMOUNT_USD_BELOW = 1_000_000_000

const HALF_UP = 1
const DECIMAL = /^[0-9]{1,30}(\.[0-9]{1,60})?$/

/** An amount that is not a decimal within the bounds. The message tells the caller which bound it breaks. */
export class AmountError extends RangeError {
  override readonly name = 'AmountError'
}

/**
 * Makes an exact decimal of any size, for rates and sums.
 *
 * @throws AmountError if a number is not finite, or if text is not plain digits (no sign, no exponent).
 */
export function decimal(value: string | number | bigint): Usd {
  if (typeof value === 'bigint') return new Big(value.toString())
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new AmountError('must be a finite number')
    return new Big(value)
  }
  if (!DECIMAL.test(value)) throw new AmountError('must be a decimal in plain digits')
  return new Big(value)
}

/**
 * Reads an amount from a request: a JSON number (by its shortest decimal text) or a decimal string. It is rounded
 * half up to 12 decimals, so 0.30000000000000004 becomes 0.3.
 *
 * Bounds: 0 ≤ amount < 1e9 USD, after rounding.
 * @throws AmountError
 */
export function parseAmountUsd(value: string | number): Usd {
  return boundAmountUsd(decimal(value))
}

/** Rounds a computed amount and checks it against the bounds of parseAmountUsd(). @throws AmountError */
export function boundAmountUsd(exact: Usd): Usd {
  const amount = roundUsd(exact)
  if (amount.lt(0)) throw new AmountError('must not be negative')
  if (amount.gte(AMOUNT_USD_BELOW)) throw new AmountError(`must be below ${AMOUNT_USD_BELOW}`)
  return amount
}

/** Whether an amount is 0. Looks at the digits directly, because comparing with big.js makes a copy first. */
export function isZero(amount: Usd): boolean {
  return amount.c[0] === 0
}

/** Rounds half up (away from zero, as Postgres does) at the 12th decimal. Round a total once, never its parts. */
export function roundUsd(amount: Usd): Usd {
  return amount.round(USD_DECIMALS, HALF_UP)
}

/** Writes an amount in plain digits, without exponent or trailing zeros: the form for SQL and JSON. */
export function usdText(amount: Usd): string {
  return amount.toFixed()
}

/** Adds up decimals given in plain digits, negative ones too. The sum is exact, as text. */
export function exactSum(texts: Iterable<string>): string {
  let sum = new Big(0)
  for (const text of texts) sum = sum.plus(text)
  return sum.toFixed()
}
