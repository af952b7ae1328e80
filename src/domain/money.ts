import Big from 'big.js'

/**
 * USD as an exact decimal. Nothing here passes through binary floating point: numbers enter by their shortest decimal
 * text, and leave as text.
 */
export type Usd = Big

/** Decimals of an amount; finer ones are rounded, half up. */
const USD_DECIMALS = 12

/** Amounts of requests are below this, in USD. */
const AMOUNT_USD_BELOW = 1_000_000_000

const HALF_UP = 1
const DECIMAL = /^[0-9]{1,30}(\.[0-9]{1,60})?$/

/** An amount that is not a decimal within the bounds; the message says which bound, for a reader of the request. */
export class AmountError extends RangeError {
  override readonly name = 'AmountError'
}

/**
 * An exact decimal of any size, as rates and sums need them.
 *
 * @throws AmountError when a number is not finite, or a text is not plain digits without sign and exponent.
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
 * An amount of a request: a JSON number (by its shortest decimal text) or a decimal string, rounded half up to 12
 * decimals, so that 0.30000000000000004 is 0.3.
 *
 * Bounds: 0 ≤ amount < 1e9 USD, after rounding.
 * @throws AmountError
 */
export function parseAmountUsd(value: string | number): Usd {
  return boundAmountUsd(decimal(value))
}

/** An amount that was worked out, rounded and within the bounds of parseAmountUsd(). @throws AmountError */
export function boundAmountUsd(exact: Usd): Usd {
  const amount = roundUsd(exact)
  if (amount.lt(0)) throw new AmountError('must not be negative')
  if (amount.gte(AMOUNT_USD_BELOW)) throw new AmountError(`must be below ${AMOUNT_USD_BELOW}`)
  return amount
}

/** Without the copy that big.js makes of whatever it compares with: a zero has one digit, which is 0. */
export function isZero(amount: Usd): boolean {
  return amount.c[0] === 0
}

/** Rounds half up (away from zero, as Postgres does) at the 12th decimal. Once a cost: of its total, not of its parts. */
export function roundUsd(amount: Usd): Usd {
  return amount.round(USD_DECIMALS, HALF_UP)
}

/** Plain digits: no exponent, no trailing zeros. The form for SQL and for JSON. */
export function usdText(amount: Usd): string {
  return amount.toFixed()
}

/** The exact sum of decimals in plain digits, negative ones too, as text. */
export function exactSum(texts: Iterable<string>): string {
  let sum = new Big(0)
  for (const text of texts) sum = sum.plus(text)
  return sum.toFixed()
}
