import { Problem } from '../../errors.ts'

/** Builds not_found for a reservation that does not exist or that the caller may not see. */
export function noReservation(id: string): Problem {
  return new Problem('not_found', `There is no reservation ${id}`)
}
