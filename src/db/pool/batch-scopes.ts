import { sql, type RawBuilder } from 'kysely'
import type { Balance } from '../quotas/balances.ts'
import { arrayText } from './composite.ts'

/** A scope in a batch: resource type, tenant, user; '' where it has no tenant or no user. */
type ScopeKey = [resourceType: 'llm' | 'e2b', tenantId: string, userId: string]

type Owned = { resource_type: 'llm' | 'e2b'; tenant_id: string; user_id: string | null }

/** The distinct scopes of a batch; and for each item the numbers of its three scopes, from 1, or 0 for no scope. */
export type BatchScopes = { scopes: ScopeKey[]; ofItems: number[][] }

/** Finds the scopes of each item: its platform's, its tenant's and its user's. */
export function scopesOf(items: Owned[]): BatchScopes {
  const scopes: ScopeKey[] = []
  const places = new Map<string, number>()
  const placeOf = (...key: ScopeKey): number => {
    const text = key.join('\u0000')
    const known = places.get(text)
    if (known !== undefined) return known
    scopes.push(key)
    places.set(text, scopes.length)
    return scopes.length
  }
  const ofItems = items.map(({ resource_type: type, tenant_id: tenant, user_id: user }) => [
    placeOf(type, '', ''),
    placeOf(type, tenant, ''),
    user === null ? 0 : placeOf(type, tenant, user),
  ])
  return { scopes, ofItems }
}

/** The scopes as the first three arguments of a deciding SQL function: p_types, p_tenants, p_users. */
export function scopeArguments({ scopes }: BatchScopes): RawBuilder<unknown> {
  return sql`${arrayText(scopes.map(([type]) => type))}::copilot_internal.resource_type[],
    ${arrayText(scopes.map(([, tenant]) => tenant))}::text[], ${arrayText(scopes.map(([, , user]) => user))}::text[]`
}

/** For each scope the numbers of its first and last balance in an answer, from 1. */
export type Places = { first: number[]; last: number[] }

/** The balances of each item, in the order platform, tenant, user. `all` are the balances of the answer. */
export function balancesOfItems(
  { scopes, ofItems }: BatchScopes,
  { first, last }: Places,
  all: Balance[],
): Balance[][] {
  const ofScopes = scopes.map((_, s) => all.slice(first[s]! - 1, last[s]))
  return ofItems.map((places) => places.flatMap((place) => (place === 0 ? [] : ofScopes[place - 1]!)))
}
