import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { Problem } from '../../errors.ts'
import type { Deps } from '../../services/deps.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The limit that counts requests to this route. Without it, there is no limit. */
    limit?: LimitName
  }
}

type LimitName = 'decisions' | 'reads' | 'admin'
export type Limits = Record<LimitName, number>

export const WINDOW_MS = 60_000

type Counted = (error: Error | null, count?: { current: number; ttl: number }) => void

/**
 * Limits requests per minute and key, in three groups. Each process counts decisions for itself, because they must not wait for
 * Redis. Reads and administration are counted over all instances. Beyond a limit: 429 with code rate_limited.
 */
export async function registerRateLimit(
  app: FastifyInstance,
  limits: Limits,
  counters: Deps['counters'],
): Promise<void> {
  // Added before the plugin, because the plugin's hook reads the value set here.
  app.addHook('onRoute', (route: RouteOptions) => {
    const name = route.config?.limit
    if (name === undefined) return
    route.config = { ...route.config, rateLimit: { max: limits[name], groupId: name } }
  })
  // The plugin's stores count each route separately. This one counts a group together: its key ends with the group's name.
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
    // After auth and before the body, so that a request with an unreadable body counts too.
    hook: 'onRequest',
    timeWindow: WINDOW_MS,
    store: Store,
    keyGenerator: (request) => `${request.principal.id} `,
    // RateLimit headers describe quotas of money in this API. This limit shows only in its 429.
    addHeaders: { ...off, 'retry-after': true },
    addHeadersOnExceeding: off,
    errorResponseBuilder: (_request, { max, ttl }) =>
      new Problem(
        'rate_limited',
        `More than ${max} requests a minute with this key. Try again in ${Math.ceil(ttl / 1000)} s.`,
      ),
  })
}
