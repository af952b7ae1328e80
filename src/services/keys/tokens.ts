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

/** How tokens are verified: by a shared secret or by the key set of their issuer. Undefined settings are not checked. */
export type TokenSettings = {
  secret: string | undefined
  jwksUrl: string | undefined
  issuer: string | undefined
  audience: string | undefined
  /** Dotted paths of claims. The first one that a token has is used. */
  tenantClaims: string[]
  roleClaims: string[]
  /** Whether a subject or tenant may look like an e-mail address; the same rule applies to ids in requests. */
  allowEmailIds: boolean
}

const SKEW_SECONDS = 30
const KEY_SET_MS_MAX = 1_500
/**
 * After an unknown key id, the key set is not fetched again for this time, so that invented ids cannot cause a flood of
 * requests.
 */
const KEY_SET_AGAIN_MS = 5_000
// Each kind of key has its own algorithms, so that nobody can use a public key as a shared secret. "none" is never allowed.
const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512']
const PUBLIC_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const ID_CHARACTERS = /^[^]{1,200}$/u
/** At most this many keys without an id are tried for one token. No real issuer publishes more. */
const KEYS_TRIED_MAX = 20
const ROLES: readonly string[] = ['admin', 'service', 'viewer'] satisfies Role[]

/** Tells whether a bearer token has the form of a JWT: three parts separated by dots. */
export function isToken(bearer: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(bearer)
}

/**
 * Makes a function that finds the principal of a token. Null if the token is not valid (signature, algorithm, issuer,
 * audience, times) or names no subject. A token without one of our roles is a viewer, and must be bound to a tenant.
 *
 * @throws unavailable if the issuer's key set cannot be fetched.
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
        throw new Problem('unavailable', 'The keys of the token’s issuer cannot be fetched. Try again.', {
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

/** Tries each key of a set if several fit because they have no id (kid). The token is valid if one of them has signed it. */
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

/** Tells whether the key set could not be fetched in time, or is not a key set. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true
  if (error instanceof errors.JOSEError) return error.code === 'ERR_JOSE_GENERIC'
  return error instanceof TypeError && error.message === 'fetch failed'
}

function principalOf(payload: JWTPayload, settings: TokenSettings): Principal | null {
  const { tenantClaims, roleClaims, allowEmailIds } = settings
  const formats = formatsOf({ allowEmailIds })
  // The same rule as for ids in requests: 1 to 200 printable characters.
  const isId = (value: unknown, format: 'id' | 'tenant-id'): value is string =>
    isString(value) && ID_CHARACTERS.test(value) && formats[format]!(value)
  // Refuse a claim of another type. As text, two different objects would become one principal. If it were ignored, a token
  // with an invalid tenant would be bound to no tenant.
  const sub: unknown = payload.sub
  if (!isId(sub, 'id')) return null
  const tenantId = valuesOf(payload, tenantClaims)[0] ?? null
  if (tenantId !== null && !isId(tenantId, 'tenant-id')) return null
  const roles = valuesOf(payload, roleClaims)
  if (!roles.every(isString)) return null
  const named = roles.find((value) => ROLES.includes(value))
  if (named === undefined && tenantId === null) return null
  const role = (named ?? 'viewer') as Role
  // Administrators are for all tenants, as with keys. A token that binds one to a tenant contradicts itself.
  if (role === 'admin' && tenantId !== null) return null
  return { id: `jwt:${sub}`, role, tenantId }
}

/** The values of a token at these paths, in their order, without missing and null ones. */
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
