import type { FastifyInstance } from 'fastify'
import { invalidRequest } from '../../errors.ts'

const REQUEST_ID = /^[!-~]{1,200}$/

/** The caller's x-request-id where it is usable; Fastify makes one otherwise. */
export function requestIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : undefined
}

/**
 * What OWASP's REST cheat sheet asks of an API: answers are data for programs, and a browser may do nothing with them. The
 * pages of /docs bring a policy of their own. Constants, because a plugin that works them out costs a twentieth of a decision.
 */
const SECURITY = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
}

/** Every answer carries the id of its request, and what keeps browsers safe. */
export function registerRequestContext(app: FastifyInstance): void {
  // An expectation that nobody knows may be passed over (RFC 9110, 10.1.1); Node's own 417 has no body and no request id.
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

/** Node reads a header byte by byte; a text for people is UTF-8, as far as it is valid. */
function textOfHeader(bytes: string): string {
  const text = Buffer.from(bytes, 'latin1').toString()
  return text.includes('\ufffd') ? bytes : text
}
