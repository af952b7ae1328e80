import type { FastifyRequest } from 'fastify'
import type { Actor } from '../db/keys/audit.ts'
import { Wait } from '../db/pool/wait.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's wait for an administrator's change; actorOf() sets it. */
    wait: Wait | undefined
  }
}

/**
 * Returns who makes a change, for the audit log: principal, address and reason. Also starts the request's wait for the
 * change. The route must declare ReasonHeaders, which validates the reason.
 */
export function actorOf(request: Pick<FastifyRequest, 'principal' | 'ip' | 'wait'> & { headers: object }): Actor {
  const { 'x-purser-reason': reason } = request.headers as { 'x-purser-reason'?: string }
  request.wait ??= new Wait()
  return { principal: request.principal.id, ip: request.ip, reason: reason ?? null, wait: request.wait }
}
