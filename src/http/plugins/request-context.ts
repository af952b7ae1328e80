import type { FastifyInstance } from 'fastify'
import { invalidRequest } from '../../errors.ts'

const REQUEST_ID = /^[!-~]{1,200}$/

/** The caller's x-request-id if it is valid. Otherwise undefined, and Fastify makes one. */
export function requestIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : undefined
}

/**
 * The headers that OWASP's REST cheat sheet recommends: answers are data for programs, so a browser must not render or run
 * them. The pages of /docs set their own policy. These are constants, because a plugin that computes them costs 5 % of a decision.
 */
const SECURITY = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
}

/** Adds the request id and the security headers to every answer. */
export function registerRequestContext(app: FastifyInstance): void {
  // Ignore an unknown Expect header, as RFC 9110 (10.1.1) allows. Node's own 417 would have no body and no request id.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response))
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.headers(SECURITY)
    if (request.raw.headers.host === undefined && request.raw.httpVersion === '1.1') {
      throw invalidRequest([{ pointer: 'host', message: 'is required' }])
    }
    const reason = request.headers['x-purser-reason']
    if (typeof reason === 'string') request.headers['x-purser-reason'] = textOfHeader(reason)
  })
}

/** Node decodes headers as latin1. Decodes the bytes as UTF-8 instead, if they are valid UTF-8. */
function textOfHeader(bytes: string): string {
  const text = Buffer.from(bytes, 'latin1').toString()
  return text.includes('\ufffd') ? bytes : text
}
