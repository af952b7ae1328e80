import {
  createRemoteJWKSet,
  errors,
  jwtVerify,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
} from 'jose'
import { Problem } from '../../errors.ts'
import { formatsOf } from '../../schemas/formats.ts'
import type { Principal, Role } from './principal.ts'

/** Where tokens come from: a shared secret, or the key set of their issuer; what is undefined is not compared. */
export type TokenSettings = {
  secret: string | undefined
  jwksUrl: string | undefined
  issuer: string | undefined
  audience: string | undefined
  /** Paths of claims, with dots; the first that a token has is taken. */
  tenantClaims: string[]
  roleClaims: string[]
  /** Whether a subject or tenant may look like an e-mail address, as ids of requests. */
  allowEmailIds: boolean
}

const SKEW_SECONDS = 30
const KEY_SET_MS_MAX = 1_500
/** A key that the set does not have yet is looked for no sooner: who makes up keys makes no storm of requests. */
const KEY_SET_AGAIN_MS = 5_000
// Each kind of key has algorithms of its own, so that a public key can't be used as a shared secret; "none" is in no list.
const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512']
const PUBLIC_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const ID_CHARACTERS = /^[^]{1,200}$/u
/** Keys of a set that are tried for one token. More than that without names nobody publishes. */
const KEYS_TRIED_MAX = 20
const ROLES: readonly string[] = ['admin', 'service', 'viewer'] satisfies Role[]

/** Whether a bearer token has the form of a JWT: three parts with dots between. */
export function isToken(bearer: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(bearer)
}

/**
 * Reads who calls from a token: null where it is not valid (signature, algorithm, issuer, audience, times) or names
 * nobody. A token without one of our roles is a viewer, and then has to be bound to a tenant.
 *
 * @throws unavailable where the issuer's key set is out of reach.
 */
export function tokenReader(settings: TokenSettings): (token: string) => Promise<Principal | null> {
  const options: JWTVerifyOptions = {
    clockTolerance: SKEW_SECONDS,
    requiredClaims: ['sub', 'exp'],
    ...(settings.issuer === undefined ? {} : { issuer: settings.issuer }),
    ...(settings.audience === undefined ? {} : { audience: settings.audience }),
  }
  const verify = verifierOf(settings)
  return async (token) => {
    try {
      const { payload } = await verify(token, options)
      return principalOf(payload, settings)
    } catch (error) {
      if (isUnreachable(error)) {
        throw new Problem('unavailable', 'The keys of the token’s issuer are out of reach. Try again.', {
          headers: { 'retry-after': '1' },
          cause: error,
        })
      }
      if (error instanceof errors.JOSEError) return null
      throw error
    }
  }
}

function verifierOf({ secret, jwksUrl }: TokenSettings) {
  if (secret !== undefined) {
    const key = new TextEncoder().encode(secret)
    return (token: string, options: JWTVerifyOptions) =>
      jwtVerify(token, key, { ...options, algorithms: SECRET_ALGORITHMS })
  }
  const keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(jwksUrl!), {
    timeoutDuration: KEY_SET_MS_MAX,
    cooldownDuration: KEY_SET_AGAIN_MS,
  })
  return async (token: string, options: JWTVerifyOptions) => {
    const verifying = { ...options, algorithms: PUBLIC_ALGORITHMS }
    try {
      return await jwtVerify(token, keys, verifying)
    } catch (error) {
      if (error instanceof errors.JWKSMultipleMatchingKeys) return verifyWithEach(error, token, verifying)
      throw error
    }
  }
}

/** Where several keys of a set fit because they have no name (kid): the token is valid if one of them has signed it. */
async function verifyWithEach(keys: errors.JWKSMultipleMatchingKeys, token: string, options: JWTVerifyOptions) {
  let tried = 0
  for await (const key of keys) {
    try {
      return await jwtVerify(token, key, options)
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error
    }
    tried += 1
    if (tried === KEYS_TRIED_MAX) break
  }
  throw new errors.JWSSignatureVerificationFailed()
}

/** The key set did not come, in time or at all, or is none. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true
  if (error instanceof errors.JOSEError) return error.code === 'ERR_JOSE_GENERIC'
  return error instanceof TypeError && error.message === 'fetch failed'
}

function principalOf(payload: JWTPayload, settings: TokenSettings): Principal | null {
  const { tenantClaims, roleClaims, allowEmailIds } = settings
  const formats = formatsOf({ allowEmailIds })
  // As ids of requests are: from 1 to 200 printable characters.
  const isId = (value: unknown, format: 'id' | 'tenant-id'): value is string =>
    isString(value) && ID_CHARACTERS.test(value) && formats[format]!(value)
  // A claim of another type names nobody. Taken as text, two different objects would be one principal; left out, a tenant
  // would become "bound to no tenant".
  const sub: unknown = payload.sub
  if (!isId(sub, 'id')) return null
  const tenantId = valuesOf(payload, tenantClaims)[0] ?? null
  if (tenantId !== null && !isId(tenantId, 'tenant-id')) return null
  const roles = valuesOf(payload, roleClaims)
  if (!roles.every(isString)) return null
  const named = roles.find((value) => ROLES.includes(value))
  if (named === undefined && tenantId === null) return null
  const role = (named ?? 'viewer') as Role
  // An administrator is for all tenants, as among keys: a token that binds one contradicts itself.
  if (role === 'admin' && tenantId !== null) return null
  return { id: `jwt:${sub}`, role, tenantId }
}

/** What a token has at these paths, in their order; what is not there, or null, is left out. */
function valuesOf(payload: JWTPayload, paths: string[]): unknown[] {
  return paths
    .map((path) => {
      let value: unknown = payload
      for (const part of path.split('.'))
        value = isRecord(value) && Object.hasOwn(value, part) ? value[part] : undefined
      return value
    })
    .filter((value) => value !== undefined && value !== null)
}

const isString = (value: unknown): value is string => typeof value === 'string'
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
