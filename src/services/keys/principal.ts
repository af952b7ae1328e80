import { Problem, invalidRequest } from '../../errors.ts'

export type Role = 'admin' | 'service' | 'viewer'

/** The caller: the owner of an API key or token, with its role and the tenant that it is bound to, if any. */
export type Principal = {
  id: string
  role: Role
  tenantId: string | null
  /** The most that its direct records may cost in a UTC day, in USD as decimal text; null or missing: no maximum. */
  recordDayMaxUsd?: string | null
}

/**
 * Finds the tenant of a request: the one in its body, or the one that the principal is bound to.
 *
 * @throws invalidRequest if there is neither; forbidden if the principal is bound to another tenant.
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
 * Finds the tenant that a list is limited to: the one that the principal is bound to, else the requested one, if any.
 *
 * @throws forbidden if the principal is bound to another tenant.
 */
export function tenantFilter(principal: Principal, tenantId: string | undefined): string | undefined {
  return principal.tenantId === null ? tenantId : tenantOf(principal, tenantId)
}
