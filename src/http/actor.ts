import type { FastifyRequest } from 'fastify'
import type { Actor } from '../db/keys/audit.ts'
import { Wait } from '../db/pool/wait.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set when the request is about to make an administrator's change. */
    wait: Wait | undefined
  }
}

/** The principal, address and reason of a change, for the audit log. ReasonHeaders has validated the reason. */
export function actorOf(request: Pick<FastifyRequest, 'principal' | 'ip' | 'wait'> & { headers: object }): Actor {
  const { 'x-purser-reason': reason } = request.headers as { 'x-purser-reason'?: string }
  request.wait ??= new Wait()
  return { principal: request.principal.id, ip: request.ip, reason: reason ?? null, wait: request.wait }
}
