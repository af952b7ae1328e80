import type { FastifyInstance } from 'fastify'
import { unanswered, unchanged, unread } from '../../db/pool/faults.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** How long it took to find out whose the key is. */
    waitedMs: number
    deadline: NodeJS.Timeout | undefined
  }
  interface FastifyContextConfig {
    /** It reads much and may take its time: its statements have bounds of their own. */
    report?: true
  }
}

/** Every wait within a request has its own bound; together they never take longer. What the caller takes to send is not ours. */
const ANSWER_MS_MAX = 1_900
/** Timers of equal length share a list. */
const STEP_MS = 100

/**
 * A request with a key that is not answered in ANSWER_MS_MAX gets a 503: its caller knows what to do, and can. An
 * administrator's change that is not committed by then is rolled back. Register before auth.
 */
export function registerDeadline(app: FastifyInstance): void {
  app.decorateRequest('waitedMs', 0)
  app.decorateRequest('deadline', undefined)
  app.decorateRequest('wait', undefined)
  // Hooks that call back would be the parents of the handler's spans, and one of preHandler would end them.
  app.addHook('preParsing', async (request, reply) => {
    request.waitedMs = reply.elapsedTime
  })
  app.addHook('preValidation', async (request, reply) => {
    const { roles, report } = request.routeOptions.config
    if (roles !== undefined && report === undefined) {
      const leftMs = ANSWER_MS_MAX - Math.floor(request.waitedMs / STEP_MS) * STEP_MS
      request.deadline = setTimeout(() => {
        if (reply.sent) return
        if (request.method === 'GET') void reply.send(unread('it took too long'))
        else if (request.wait === undefined) void reply.send(unanswered('The answer did not come in time'))
        // Else its outcome is on its way, or it is not made.
        else if (request.wait.giveUp()) void reply.send(unchanged('it took too long'))
      }, leftMs)
    }
  })
  app.addHook('onResponse', async (request) => {
    clearTimeout(request.deadline)
  })
}
