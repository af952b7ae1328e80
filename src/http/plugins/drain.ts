import type { FastifyInstance } from 'fastify'
import { Problem } from '../../errors.ts'

/**
 * A stop answers what is in flight and refuses what comes after it; then it closes every connection, also those that a
 * client keeps open or has never used: they would hold the process up otherwise.
 */
export function registerDrain(app: FastifyInstance): void {
  let inFlight = 0
  let closing = false
  let drained = (): void => {}

  app.addHook('onRequest', async (_request, reply) => {
    inFlight += 1
    // Fastify's onResponse does not come for a caller that has gone; the end of the connection does.
    reply.raw.once('close', () => {
      inFlight -= 1
      if (closing && inFlight === 0) drained()
    })
    if (closing) {
      throw new Problem('unavailable', 'This instance is stopping. Nothing was decided; try again.', {
        headers: { 'retry-after': '1' },
      })
    }
  })
  app.addHook('onSend', async (_request, reply) => {
    if (closing) reply.header('connection', 'close')
  })
  app.addHook('preClose', async () => {
    closing = true
    if (inFlight > 0) await new Promise<void>((resolve) => (drained = resolve))
    app.server.closeAllConnections()
  })
}
