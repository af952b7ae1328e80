import { Type, type TSchema } from 'typebox'
import { ProblemSchema } from '../schemas/common.ts'

/** An answer that is not JSON, by its content type. */
type OtherContent = { description: string; content: Record<string, { schema: TSchema }> }

/** The answers of a route for its schema: its own, and every problem in one form. */
export function answers(own: Record<number, TSchema | OtherContent>): Record<string, unknown> {
  const problem = {
    description: 'A problem in the form of RFC 9457',
    content: { 'application/problem+json': { schema: Type.Ref('Problem') } },
  }
  return { ...own, '4xx': problem, '5xx': problem }
}

export { ProblemSchema }
