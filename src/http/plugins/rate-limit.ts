import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { Problem } from '../../errors.ts'
import type { Deps } from '../../services/deps.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Which of the three limits counts the route; none: it has no limit. */
    limit?: LimitName
  }
}

type LimitName = 'decisions' | 'reads' | 'admin'
export type Limits = Record<LimitName, number>

export const WINDOW_MS = 60_000

type Counted = (error: Error | null, count?: { current: number; ttl: number }) => void

/**
 * Requests a minute and key, in three groups: decisions are counted in the process, because they must not wait for
 * Redis; reads and administration over all instances. One over a limit is a 429 with code rate_limited.
 */
export async function registerRateLimit(
  app: FastifyInstance,
  limits: Limits,
  counters: Deps['counters'],
): Promise<void> {
  // Before the plugin, whose own hook reads what this one sets.
  app.addHook('onRoute', (route: RouteOptions) => {
    const name = route.config?.limit
    if (name === undefined) return
    route.config = { ...route.config, rateLimit: { max: limits[name], groupId: name } }
  })
  // The plugin's own stores count each route for itself; one store counts a group as a whole. The key ends with the group.
  class Store {
    readonly #together: boolean
    constructor({ groupId }: { groupId?: string }) {
      this.#together = groupId !== 'decisions'
    }
    incr(key: string, counted: Counted, windowMs: number): void {
      if (this.#together) counters.together(key, windowMs).then((count) => counted(null, count), counted)
      else counted(null, counters.here(key, windowMs))
    }
    child(options: object): Store {
      return new Store(options)
    }
  }
  const off = { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }
  await app.register(rateLimit, {
    global: false,
    // After auth, before the body: one that can't be read counts too.
    hook: 'onRequest',
    timeWindow: WINDOW_MS,
    store: Store,
    keyGenerator: (request) => `${request.principal.id} `,
    // The fields tell of quotas of money here; a limit of requests says when it is met.
    addHeaders: { ...off, 'retry-after': true },
    addHeadersOnExceeding: off,
    errorResponseBuilder: (_request, { max, ttl }) =>
      new Problem(
        'rate_limited',
        `More than ${max} requests a minute with this key. Go on in ${Math.ceil(ttl / 1000)} s.`,
      ),
  })
}
