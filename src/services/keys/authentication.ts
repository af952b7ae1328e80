import { findKeyOwner } from '../../db/keys/api-keys.ts'
import type { Db } from '../../db/pool/connection.ts'
import { hashKey } from './api-keys.ts'
import type { Principal } from './principal.ts'
import { isToken, tokenReader, type TokenSettings } from './tokens.ts'

/**
 * Finds the principal of an API key or token; null if it is not valid. Only a key is looked up in Postgres: `inTurn` runs
 * that look-up when it is the caller's turn.
 */
export type FindPrincipal = (
  bearer: string,
  inTurn: <Found>(lookUp: () => Promise<Found>) => Promise<Found>,
) => Promise<Principal | null>

/** @param deps.settlementDb looks up keys, so that a flood of reservations cannot keep commits from being authenticated. */
export function openAuthentication(deps: { settlementDb: Db; tokens: TokenSettings | null }): FindPrincipal {
  const readToken = deps.tokens === null ? null : tokenReader(deps.tokens)
  return async (bearer, inTurn) => {
    if (readToken !== null && isToken(bearer)) return readToken(bearer)
    const owner = await inTurn(() => findKeyOwner(deps.settlementDb, hashKey(bearer)))
    if (owner === null) return null
    const { keyId, role, tenantId, recordDayMaxUsd } = owner
    return { id: `key:${keyId}`, role, tenantId, recordDayMaxUsd }
  }
}
