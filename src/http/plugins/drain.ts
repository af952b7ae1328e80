import type { FastifyInstance } from 'fastify'
import { Problem } from '../../errors.ts'

/**
 * On a stop, answers the requests in flight and refuses new ones. Then closes every connection. A client may keep connections
 * open or never use them, and they would delay the end of the process.
 */
export function registerDrain(app: FastifyInstance): void {
  let inFlight = 0
  let closing = false
  let drained = (): void => {}

  app.addHook('onRequest', async (_request, reply) => {
    inFlight += 1
    // Fastify does not call onResponse if the caller disconnects, so listen for the end of the connection.
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
