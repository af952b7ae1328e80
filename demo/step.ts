import type { CallKind } from './tenants.ts'
import type { Form } from './usage-objects.ts'

export type ResourceType = 'llm' | 'e2b'

/** One model call or sandbox run of a caller: reserve, then do something with the hold. */
export type Step = {
  resourceType: ResourceType
  kind: CallKind
  /** The body of POST /v1/reservations, without the tenant. */
  reserve: object
  next: { commit: object } | { release: object } | 'leave open'
  /** What the hold is for, and what the cost will be booked under: a provider and model, or a sandbox tier. */
  asked: string
  booked: string
  /** The form of the committed usage object, if there is one. */
  form?: Form
}

/** Shown in place of a model, if the caller's own estimate or cost names none. */
export const NO_MODEL = '(no model named)'

export function subjectOf(line: { provider: string | null; model: string | null }): string {
  return line.model === null ? NO_MODEL : `${line.provider}/${line.model}`
}

/** The lifetime of a hold that is left open: just beyond the run. */
export const OPEN_TTL_SECONDS = 900
