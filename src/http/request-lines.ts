import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'

/**
 * Logs each request as one line of level info when it has ended: method and path, the status and the milliseconds, or that
 * the caller disconnected before the answer.
 */
export class RequestLines extends LogController {
  override incomingRequest(request: FastifyRequest, reply: FastifyReply): void {
    // Fastify does not complete a request if its caller disconnects, so listen for the end of the connection.
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished)
        request.log.info({ req: request }, 'request: the caller disconnected before the answer')
    })
  }

  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    if (error) return super.requestCompleted(error, request, reply)
    request.log.info({ req: request, res: reply, responseTime: reply.elapsedTime }, 'request')
  }
}
