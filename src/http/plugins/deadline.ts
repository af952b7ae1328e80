import type { FastifyInstance } from 'fastify'
import { unanswered, unchanged, unread } from '../../db/pool/faults.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Milliseconds that authentication took. */
    waitedMs: number
    deadline: NodeJS.Timeout | undefined
  }
  interface FastifyContextConfig {
    /** The route has no deadline here. It reads a lot, and its statements have their own time limits. */
    report?: true
  }
}

/** The time for one answer, over all its waits; each wait also has its own limit. Receiving the request does not count. */
const ANSWER_MS_MAX = 1_900
/** Deadlines are rounded to this, because Node keeps timers of equal length in one cheap list. */
const STEP_MS = 100

/**
 * Answers 503 to a request with a key that is not answered within ANSWER_MS_MAX, so that its caller can retry. An administrator's
 * change that is not committed by then is rolled back. Register before auth.
 */
export function registerDeadline(app: FastifyInstance): void {
  app.decorateRequest('waitedMs', 0)
  app.decorateRequest('deadline', undefined)
  app.decorateRequest('wait', undefined)
  // These hooks are async on purpose: a hook with a callback becomes the parent of the handler's spans, and a preHandler hook would end
  // them.
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
        // If giveUp() says false, the change has been sent to be committed, and its own answer follows.
        else if (request.wait.giveUp()) void reply.send(unchanged('it took too long'))
      }, leftMs)
    }
  })
  app.addHook('onResponse', async (request) => {
    clearTimeout(request.deadline)
  })
}
