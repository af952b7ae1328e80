import { LogController, type FastifyReply, type FastifyRequest } from 'fastify'

/** A request is one line of the log, at info, when it has been answered: what was asked, the status, and after how many milliseconds. */
export class RequestLines extends LogController {
  override incomingRequest(): void {}

  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    if (error) return super.requestCompleted(error, request, reply)
    request.log.info({ req: request, res: reply, responseTime: reply.elapsedTime }, 'request')
  }
}
