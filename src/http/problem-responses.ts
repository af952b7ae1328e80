import { Type, type TSchema } from 'typebox'
import type { ErrorCode } from '../errors.ts'
import { ProblemSchema } from '../schemas/common.ts'
import { QuotaExceededSchema } from '../schemas/reservations.ts'

/** An answer that is not JSON, by its content type. */
type OtherContent = { description: string; content: Record<string, { schema: TSchema }> }

/** The answers of a route for its schema: its own, and every problem in one form. */
export function answers(own: Record<number, TSchema | OtherContent>): Record<string, unknown> {
  const problem = {
    description: 'A problem in the form of RFC 9457.',
    content: { 'application/problem+json': { schema: ProblemSchema } },
  }
  return { ...own, '4xx': problem, '5xx': problem }
}

/**
 * What the document names beside the problems that follow from the form of a route (its key, path and body), by
 * operationId.
 */
export const REFUSALS: Readonly<Record<string, readonly ErrorCode[]>> = {
  reserve: ['idempotency_mismatch', 'price_not_found'],
  check: ['price_not_found'],
  commit: ['reservation_committed'],
  extend: ['reservation_not_open'],
  release: ['reservation_committed'],
  estimate: ['price_not_found'],
  record: ['idempotency_mismatch', 'price_not_found'],
  correct: ['record_corrected', 'price_not_found'],
  listCostRecords: ['archived'],
  readCosts: ['archived'],
  exportCosts: ['archived'],
  publishModelPrice: ['price_exists'],
  publishSandboxPrice: ['price_exists'],
  deleteQuotaDefault: ['not_found'],
}

const header = (description: string) => ({ type: 'string', description })

const RATE_LIMIT = {
  ratelimit: header(
    'What is left of a quota, in millionths of a USD (`r`), and in how many seconds it resets (`t`, absent for `total`).',
  ),
  'ratelimit-policy': header(
    'The limit of that quota, in millionths of a USD (`q`), and the length of its period in seconds (`w`, absent if that varies).',
  ),
}
const ENFORCEMENT = {
  'x-purser-enforcement': header('`warn`: the answer has warnings. Absent otherwise.'),
}

/** A hold, with the headers that may come with it. */
export function heldAnswer(schema: TSchema): TSchema {
  const replayed = {
    'idempotency-replayed': header(
      '`true`: this is the answer to an earlier request with the same key. Absent otherwise.',
    ),
  }
  return { ...schema, headers: { ...RATE_LIMIT, ...replayed, ...ENFORCEMENT } }
}

/** An answer that a warning may come with. */
export function warnedAnswer(schema: TSchema): TSchema {
  return { ...schema, headers: ENFORCEMENT }
}

/** A refusal by quota, or a limit of requests. */
export const refusalAnswer = {
  description: 'A quota does not allow the amount, or this key sends too many requests.',
  headers: {
    ...RATE_LIMIT,
    'retry-after': header('After how many seconds a retry can succeed. Absent if waiting does not help.'),
  },
  content: {
    'application/problem+json': { schema: Type.Union([QuotaExceededSchema, ProblemSchema]) },
  },
}
