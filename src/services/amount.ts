import { AmountError, boundAmountUsd, parseAmountUsd, type Usd } from '../domain/money.ts'
import { invalidRequest } from '../errors.ts'

/** Parses an amount of a request exactly. @throws invalidRequest at `pointer` if the amount is out of bounds. */
export function amountOf(value: string | number | Usd, pointer: string): Usd {
  try {
    return typeof value === 'object' ? boundAmountUsd(value) : parseAmountUsd(value)
  } catch (error) {
    if (error instanceof AmountError) throw invalidRequest([{ pointer, message: error.message }])
    throw error
  }
}
