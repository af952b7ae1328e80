import type { FastifyRequest } from 'fastify'
import type { Actor } from '../db/keys/audit.ts'
import { Wait } from '../db/pool/wait.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set once the request is about to change something as an administrator. */
    wait: Wait | undefined
  }
}

/** Who makes a change, from where, and why, for the audit log. The reason has been validated (ReasonHeaders). */
export function actorOf(request: Pick<FastifyRequest, 'principal' | 'ip' | 'wait'> & { headers: object }): Actor {
  const { 'x-purser-reason': reason } = request.headers as { 'x-purser-reason'?: string }
  request.wait ??= new Wait()
  return { principal: request.principal.id, ip: request.ip, reason: reason ?? null, wait: request.wait }
}
