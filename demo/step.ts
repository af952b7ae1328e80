import type { CallKind } from './tenants.ts'
import type { Form } from './usage-objects.ts'

export type ResourceType = 'llm' | 'e2b'

/** One call or sandbox as its caller goes through it: reserve, then do something with the hold. */
export type Step = {
  resourceType: ResourceType
  kind: CallKind
  /** Body of POST /v1/reservations, but for the tenant. */
  reserve: object
  next: { commit: object } | { release: object } | 'leave open'
  /** What the hold is of, and what the cost will be booked under: a model with its provider, or a sandbox's tier. */
  asked: string
  booked: string
  /** Of the usage object that is committed, if one is. */
  form?: Form
}

/** What stands for the model where an estimate or a cost of the caller's own names none. */
export const NO_MODEL = '(no model named)'

export function subjectOf(line: { provider: string | null; model: string | null }): string {
  return line.model === null ? NO_MODEL : `${line.provider}/${line.model}`
}

/** A hold that is left open outlives the run and no more. */
export const OPEN_TTL_SECONDS = 900
