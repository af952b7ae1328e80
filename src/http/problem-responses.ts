import { Type, type TSchema } from 'typebox'
import { ProblemSchema } from '../schemas/common.ts'
import { QuotaExceededSchema } from '../schemas/reservations.ts'

const PROBLEM = 'A problem in the form of RFC 9457'

/** An answer that is not JSON, by its content type. */
type OtherContent = { description: string; content: Record<string, { schema: TSchema }> }

/** The answers of a route for its schema: its own, and every problem in one form. */
export function answers(own: Record<number, TSchema | OtherContent>): Record<string, unknown> {
  const problem = {
    description: PROBLEM,
    content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
  }
  return { ...own, '4xx': problem, '5xx': problem }
}

const header = (description: string) => ({ type: 'string', description })

const RATE_LIMIT = {
  ratelimit: header('What is left of a quota, in micros of a USD, and in how many seconds it resets'),
  'ratelimit-policy': header('The limit of that quota, in micros of a USD, and its seconds where they do not vary'),
}
const ENFORCEMENT = { 'x-purser-enforcement': header('warn: a warning let something pass') }

/** A hold, with the headers that may come with it. */
export function heldAnswer(schema: TSchema): TSchema {
  const replayed = { 'idempotency-replayed': header('true: the answer of the first request with this key') }
  return { ...schema, headers: { ...RATE_LIMIT, ...replayed, ...ENFORCEMENT } }
}

/** An answer that a warning may come with. */
export function warnedAnswer(schema: TSchema): TSchema {
  return { ...schema, headers: ENFORCEMENT }
}

/** A refusal by quota, or a limit of requests. */
export const refusalAnswer = {
  description: PROBLEM,
  headers: { ...RATE_LIMIT, 'retry-after': header('Seconds; absent where waiting does not help') },
  content: {
    'application/problem+json': { schema: { anyOf: [Type.Ref('QuotaExceeded'), Type.Ref('Problem')] } },
  },
}

export { ProblemSchema, QuotaExceededSchema }
