import { Problem, invalidRequest } from '../../errors.ts'

export type Role = 'admin' | 'service' | 'viewer'

/** Who calls: an API key, with its role and perhaps bound to a tenant. */
export type Principal = {
  id: string
  role: Role
  tenantId: string | null
  /** The most that its direct records may cost in a day of UTC, USD as decimal text; without it there is no ceiling. */
  recordDayMaxUsd?: string | null
}

/**
 * The tenant of a request's body: the one that it names, or the one that the principal is bound to.
 *
 * @throws invalidRequest where neither is there; forbidden for another tenant than the principal's own.
 */
export function tenantOf(principal: Principal, tenantId: string | undefined, pointer = '/tenant_id'): string {
  if (principal.tenantId === null) {
    if (tenantId === undefined)
      throw invalidRequest([{ pointer, message: 'is required: this key is not bound to a tenant' }])
    return tenantId
  }
  if (tenantId !== undefined && tenantId !== principal.tenantId) {
    throw new Problem('forbidden', `This key is bound to tenant ${principal.tenantId} and can't act for another one`)
  }
  return principal.tenantId
}

/**
 * The tenant that a list is narrowed to: the principal's own where it is bound to one, else the one asked for, if any.
 *
 * @throws forbidden for another tenant than the principal's own.
 */
export function tenantFilter(principal: Principal, tenantId: string | undefined): string | undefined {
  return principal.tenantId === null ? tenantId : tenantOf(principal, tenantId)
}
