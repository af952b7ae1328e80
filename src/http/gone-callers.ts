import type { FastifyInstance, FastifyReply } from 'fastify'

/**
 * Does work for callers that will never know: whose connection closed before the answer was sent, or that were told of a
 * failure (5xx) before there was one. A stop of the service waits for it; a failure is logged.
 */
export function goneCallers(app: FastifyInstance): (reply: FastifyReply, work: () => Promise<void>) => void {
  const working = new Set<Promise<void>>()
  app.addHook('onClose', async () => {
    await Promise.all(working)
  })
  return (reply, work) => {
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished && reply.statusCode < 500) return
      const done = work()
        .catch((error: unknown) => reply.log.warn({ err: error }, 'cleaning up after a caller that has gone'))
        .finally(() => working.delete(done))
      working.add(done)
    })
  }
}
