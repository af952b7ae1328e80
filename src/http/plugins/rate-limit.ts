import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { Problem } from '../../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Which of the three limits counts the route; none: it has no limit. */
    limit?: LimitName
  }
}

type LimitName = 'decisions' | 'reads' | 'admin'
export type Limits = Record<LimitName, number>

const WINDOW_MS = 60_000
const KEYS_MAX = 10_000

/** Requests a minute and key, counted in the process, in three groups. One over it is a 429 with code rate_limited. */
export async function registerRateLimit(app: FastifyInstance, limits: Limits): Promise<void> {
  // Before the plugin, whose own hook reads what this one sets.
  app.addHook('onRoute', (route: RouteOptions) => {
    const name = route.config?.limit
    if (name === undefined) return
    route.config = { ...route.config, rateLimit: { max: limits[name], groupId: name } }
  })
  const off = { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false }
  await app.register(rateLimit, {
    global: false,
    hook: 'preValidation',
    timeWindow: WINDOW_MS,
    cache: KEYS_MAX,
    keyGenerator: (request) => request.principal.id,
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
