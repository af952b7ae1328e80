import { findKeyOwner } from '../../db/keys/api-keys.ts'
import type { Db } from '../../db/pool/connection.ts'
import { hashKey } from './api-keys.ts'
import type { Principal } from './principal.ts'
import { isToken, tokenReader, type TokenSettings } from './tokens.ts'

/**
 * Finds whose API key or token a bearer is; null where it is not valid. Only a key needs Postgres: `inTurn` does its
 * look-up once the caller may ask.
 */
export type FindPrincipal = (
  bearer: string,
  inTurn: <Found>(lookUp: () => Promise<Found>) => Promise<Found>,
) => Promise<Principal | null>

/** @param deps.settlementDb keys are looked up there, so that a flood of reservations keeps no commit from its key. */
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
