import type { FastifyInstance, FastifyReply } from 'fastify'

/**
 * Runs `work` if the caller does not get the real answer: its connection closed before the answer was sent, or it was
 * answered with a 5xx before there was an outcome. A stop of the service waits for the work; a failure is logged.
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
        .catch((error: unknown) =>
          reply.log.warn({ err: error }, 'could not clean up after a caller that disconnected'),
        )
        .finally(() => working.delete(done))
      working.add(done)
    })
  }
}
