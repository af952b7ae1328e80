import { AmountError, parseAmountUsd, type Usd } from '../domain/money.ts'
import { invalidRequest } from '../errors.ts'

/** An amount of a request, exact. @throws invalidRequest at its pointer where rounding took it out of bounds. */
export function amountOf(value: string | number, pointer: string): Usd {
  try {
    return parseAmountUsd(value)
  } catch (error) {
    if (error instanceof AmountError) throw invalidRequest([{ pointer, message: error.message }])
    throw error
  }
}
