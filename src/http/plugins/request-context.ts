import type { FastifyInstance } from 'fastify'

const REQUEST_ID = /^[!-~]{1,200}$/

/** The caller's x-request-id where it is usable; Fastify makes one otherwise. */
export function requestIdOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && REQUEST_ID.test(header) ? header : undefined
}

/** Answers are data for programs; the pages of /docs bring a policy of their own. */
const POLICY = "default-src 'none'; frame-ancestors 'none'"

/** Every answer carries the id of its request, and that a browser may do nothing with it. */
export function registerRequestContext(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    reply.header('content-security-policy', POLICY)
    const reason = request.headers['x-purser-reason']
    if (typeof reason === 'string') request.headers['x-purser-reason'] = textOfHeader(reason)
  })
}

/** Node reads a header byte by byte; a text for people is UTF-8, as far as it is valid. */
function textOfHeader(bytes: string): string {
  const text = Buffer.from(bytes, 'latin1').toString()
  return text.includes('\ufffd') ? bytes : text
}
