import type { FastifyRequest } from 'fastify'
import type { Actor } from '../services/change.ts'

/** Who makes a change, from where, and why, for the audit log. The reason has been validated (ReasonHeaders). */
export function actorOf(request: Pick<FastifyRequest, 'principal' | 'ip'> & { headers: object }): Actor {
  const { 'x-purser-reason': reason } = request.headers as { 'x-purser-reason'?: string }
  return { principal: request.principal.id, ip: request.ip, reason: reason ?? null }
}
