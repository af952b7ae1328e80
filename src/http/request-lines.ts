import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'

/**
 * A request is one line of the log, at info, when it has ended: what was asked, the status and after how many milliseconds, or that
 * its caller went before its answer.
 */
export class RequestLines extends LogController {
  override incomingRequest(request: FastifyRequest, reply: FastifyReply): void {
    // Fastify completes no request whose caller has gone; the end of the connection does.
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) request.log.info({ req: request }, 'request whose caller has gone')
    })
  }

  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    if (error) return super.requestCompleted(error, request, reply)
    request.log.info({ req: request, res: reply, responseTime: reply.elapsedTime }, 'request')
  }
}
