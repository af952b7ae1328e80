import { LRUCache } from 'lru-cache'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Problem } from '../../errors.ts'
import type { Principal, Role } from '../../services/principal.ts'

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal
  }
  interface FastifyContextConfig {
    /** Who may call the route; none: no key is needed. */
    roles?: readonly Role[]
  }
}

/** How long a key that was valid is taken to be so: a revoked one works that much longer at most. */
const TRUSTED_MS = 1_000
const KEYS_MAX = 10_000
const BEARER = /^Bearer +([!-~]{1,1024}) *$/i

export const ALL_ROLES = ['admin', 'service', 'viewer'] as const
export const CALLERS = ['admin', 'service'] as const
export const READERS = ['admin', 'viewer'] as const
export const ADMINS = ['admin'] as const

export type Authenticate = {
  hashKey: (key: string) => string
  /** Whose key this is, by its hash; null where it is not valid. */
  findPrincipal: (keyHash: string) => Promise<Principal | null>
}

/**
 * Puts the principal on the request, by the hash of its key, and checks its role. A valid key costs a hash and a map
 * look-up; once a second and key, one look-up in Postgres.
 */
export function registerAuth(app: FastifyInstance, { hashKey, findPrincipal }: Authenticate): void {
  const known = new LRUCache<string, Principal>({
    max: KEYS_MAX,
    ttl: TRUSTED_MS,
    fetchMethod: async (keyHash) => (await findPrincipal(keyHash)) ?? undefined,
  })
  app.decorateRequest('principal')
  app.addHook('onRequest', async (request) => {
    const { roles } = request.routeOptions.config
    if (roles === undefined) return
    const keyHash = hashKey(bearerKey(request))
    const principal = known.get(keyHash) ?? (await known.fetch(keyHash))
    if (principal === undefined) {
      throw unauthenticated('This key is not valid: unknown, expired or revoked')
    }
    if (!roles.includes(principal.role)) {
      throw new Problem(
        'forbidden',
        `A key with role ${principal.role} may not do this; it takes ${roles.join(' or ')}`,
      )
    }
    request.principal = principal
  })
}

function bearerKey(request: FastifyRequest): string {
  const { authorization } = request.headers
  if (authorization === undefined) throw unauthenticated('Send a key as "Authorization: Bearer <key>"')
  const [, key] = BEARER.exec(authorization) ?? []
  if (key === undefined) throw unauthenticated('The Authorization header is not "Bearer <key>"')
  return key
}

function unauthenticated(detail: string): Problem {
  return new Problem('unauthenticated', detail, { headers: { 'www-authenticate': 'Bearer' } })
}
