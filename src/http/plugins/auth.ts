import { LRUCache } from 'lru-cache'
import pLimit, { type LimitFunction } from 'p-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Problem } from '../../errors.ts'
import { hashKey } from '../../services/keys/api-keys.ts'
import type { FindPrincipal } from '../../services/keys/authentication.ts'
import type { Principal, Role } from '../../services/keys/principal.ts'
import { WINDOW_MS } from './rate-limit.ts'

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal
  }
  interface FastifyContextConfig {
    /** The roles that may call the route. Without it, no key is needed. */
    roles?: readonly Role[]
  }
}

/** How long a valid key stays cached. A revoked key works at most this much longer. */
const TRUSTED_MS = 1_000
const KEYS_MAX = 10_000
/** Look-ups of keys from one address at the same time. More would let guesses take the connections that commits need. */
const LOOKUPS_MAX = 2
/** A caller that has waited longer than this for its look-up is refused, because the look-up itself may use up the deadline. */
const TURN_MS_MAX = 200
const BEARER = /^Bearer +([!-~]{1,8192}) *$/i
/** Wrong keys and tokens per minute and address. Beyond it, a valid key still works. */
const FAILURES_MAX = 30

export const ALL_ROLES = ['admin', 'service', 'viewer'] as const
export const CALLERS = ['admin', 'service'] as const
export const READERS = ['admin', 'viewer'] as const
export const ADMINS = ['admin'] as const

export type AuthDeps = {
  findPrincipal: FindPrincipal
  counters: { together: (key: string, windowMs: number) => Promise<{ current: number; ttl: number }> }
}

/**
 * Finds the principal by the hash of the key or token, puts it on the request, and checks its role. A valid key costs a hash
 * and a map look-up, and one look-up in Postgres per second.
 */
export function registerAuth(app: FastifyInstance, { findPrincipal, counters }: AuthDeps): void {
  const limits = new LRUCache<string, LimitFunction>({ max: KEYS_MAX })
  const known = new LRUCache<string, Principal, { bearer: string; address: string }>({
    max: KEYS_MAX,
    ttl: TRUSTED_MS,
    fetchMethod: async (_hash, _stale, { options, context: { bearer, address } }) => {
      const askedAt = performance.now()
      const principal = await findPrincipal(bearer, turnsOf(address))
      // The answer's age counts from the question, so a slow answer is cached for less time.
      options.ttl = Math.max(1, TRUSTED_MS - Math.ceil(performance.now() - askedAt))
      return principal ?? undefined
    },
  })

  /** Does the look-ups of an address a few at a time. @throws overloaded for one whose turn comes too late. */
  function turnsOf(address: string): Parameters<FindPrincipal>[1] {
    const askedAt = performance.now()
    let limit = limits.get(address)
    if (limit === undefined) limits.set(address, (limit = pLimit(LOOKUPS_MAX)))
    return (lookUp) =>
      limit(() => {
        if (performance.now() - askedAt > TURN_MS_MAX) throw tooManyLookups()
        return lookUp()
      })
  }

  app.decorateRequest('principal')
  app.addHook('onRequest', async (request) => {
    const { roles } = request.routeOptions.config
    if (roles === undefined) return
    const bearer = bearerOf(request)
    const hash = hashKey(bearer)
    const principal = known.get(hash) ?? (await known.fetch(hash, { context: { bearer, address: request.ip } }))
    if (principal === undefined) {
      const { current, ttl } = await counters.together(`failed:${request.ip}`, WINDOW_MS)
      if (current > FAILURES_MAX) throw tooManyFailures(ttl)
      throw unauthenticated('This key or token is not valid: unknown, expired or revoked')
    }
    if (!roles.includes(principal.role)) {
      throw new Problem(
        'forbidden',
        `A key with role ${principal.role} may not do this. It needs the role ${roles.join(' or ')}.`,
      )
    }
    request.principal = principal
  })
}

function bearerOf(request: FastifyRequest): string {
  const { authorization } = request.headers
  if (authorization === undefined) throw unauthenticated('Send a key as "Authorization: Bearer <key>"')
  const [, key] = BEARER.exec(authorization) ?? []
  if (key === undefined) throw unauthenticated('The Authorization header is not "Bearer <key>"')
  return key
}

function tooManyFailures(ttlMs: number): Problem {
  const seconds = Math.ceil(ttlMs / 1000)
  return new Problem(
    'rate_limited',
    `More than ${FAILURES_MAX} wrong keys or tokens a minute from this address. Try again in ${seconds} s.`,
    { headers: { 'retry-after': String(seconds) } },
  )
}

function tooManyLookups(): Problem {
  return new Problem(
    'overloaded',
    'Too many requests from this address wait for their key to be checked. Try again later.',
    {
      headers: { 'retry-after': '1' },
    },
  )
}

function unauthenticated(detail: string): Problem {
  return new Problem('unauthenticated', detail, { headers: { 'www-authenticate': 'Bearer' } })
}
