import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { faultReason, maybeChanged, databaseProblem, unchanged, undecided, unread } from '../../db/pool/faults.ts'
import { ERRORS, invalidRequest, Problem, type ErrorCode } from '../../errors.ts'
import { BODY_BYTES_MAX } from './json.ts'
import { fieldErrors } from './validation.ts'

/** Fastify's own errors that a caller can cause. */
const FASTIFY_CODES: Record<string, [ErrorCode, string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send the body as application/json'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'content-length does not fit the body'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body is empty; send a JSON object'],
  FST_ERR_BAD_URL: ['invalid_request', 'The path is not valid percent-encoded UTF-8'],
  FST_ERR_MAX_PARAM_LENGTH: ['uri_too_long', 'A part of the path is too long'],
}

const TOO_LARGE = 'FST_ERR_CTP_BODY_TOO_LARGE'

/** Node's own errors about what is no request yet. */
const CLIENT_ERRORS: Record<string, string> = {
  HPE_HEADER_OVERFLOW: 'The headers are larger than 16 KiB',
  ERR_HTTP_REQUEST_TIMEOUT: 'The request was not sent in time',
}

/** Every error leaves as application/problem+json (RFC 9457); what went wrong inside goes to the log only. */
export function registerProblems(app: FastifyInstance): void {
  app.setErrorHandler(answerError)

  const patterns: { method: string; path: RegExp }[] = []
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(
      `^${url
        .replace(/\./g, '\\.')
        .replace(/:[a-z_]+/gi, '[^/]+')
        .replace(/\*$/, '.*')}$`,
    )
    for (const one of [method].flat()) patterns.push({ method: one, path })
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]!
    const allowed = [...new Set(patterns.filter((route) => route.path.test(path)).map(({ method }) => method))]
    if (allowed.length === 0)
      return sendProblem(request, reply, new Problem('not_found', `There is nothing at ${path}`))
    const detail = `${request.method} does not go with ${path}; it takes ${allowed.join(', ')}`
    return sendProblem(
      request,
      reply,
      new Problem('method_not_allowed', detail, { headers: { allow: allowed.join(', ') } }),
    )
  })
}

/** Also for what Fastify refuses before it knows the route. */
export function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const problem = error.code === TOO_LARGE ? tooLarge(request, error) : toProblem(request, error)
  if (problem.code === 'payload_too_large') readOn(request, reply)
  // In an overload the line of the request says enough: a stack for each would make it worse.
  if (ERRORS[problem.code].status >= 500 && problem.code !== 'overloaded')
    request.log.error({ err: error }, 'request failed')
  void sendProblem(request, reply, problem)
}

/**
 * A body that is refused is read to its end and dropped, for as long as a request may take: where the connection is
 * closed at once instead, a caller who still writes meets a broken pipe and never sees why.
 */
function readOn(request: FastifyRequest, reply: FastifyReply): void {
  reply.removeHeader('connection')
  request.raw.resume()
}

/** For what is not HTTP, where there is no request to answer: straight to the socket, which is closed then. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) return void socket.destroy()
  const detail = CLIENT_ERRORS[error.code ?? ''] ?? 'This is not a request of HTTP/1.1'
  const requestId = randomUUID()
  const body = JSON.stringify({ ...bodyOf(new Problem('invalid_request', detail), requestId), instance: '' })
  socket.end(
    [
      'HTTP/1.1 400 Bad Request',
      `content-length: ${Buffer.byteLength(body)}`,
      'content-type: application/problem+json; charset=utf-8',
      `x-request-id: ${requestId}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}

function tooLarge(request: FastifyRequest, cause: FastifyError): Problem {
  const kib = (request.routeOptions.bodyLimit ?? BODY_BYTES_MAX) / 1024
  return new Problem('payload_too_large', `The body is larger than ${kib} KiB, which is all that this route takes`, {
    cause,
  })
}

function bodyOf(problem: Problem, requestId: string): object {
  const { status, title } = ERRORS[problem.code]
  return {
    type: `/problems/${problem.code.replaceAll('_', '-')}`,
    title,
    status,
    detail: problem.message,
    code: problem.code,
    request_id: requestId,
  }
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(ERRORS[problem.code].status)
    .headers(problem.headers)
    .header('content-type', 'application/problem+json; charset=utf-8')
    .header('x-request-id', request.id)
    .serializer((body: unknown) => JSON.stringify(body))
    .send({ ...bodyOf(problem, request.id), instance: request.url.split('?', 1)[0], ...problem.members })
}

function toProblem(request: FastifyRequest, error: FastifyError): Problem {
  if (error instanceof Problem) return error
  if (error.validation !== undefined) return invalidRequest(fieldErrors(error.validation, error.validationContext))
  const known = FASTIFY_CODES[error.code]
  if (known !== undefined) return new Problem(known[0], known[1], { cause: error })
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new Problem('invalid_request', 'The request is malformed', { cause: error })
  }
  const database = faultOf(request, error)
  if (database instanceof Problem) return database
  return new Problem('internal', 'The service failed. The request_id finds the reason in its log.', { cause: error })
}

/** What to answer for a fault of the database, by how far the request had come; null for any other error. */
function faultOf({ principal, method, wait }: FastifyRequest, error: FastifyError): unknown {
  const reason = faultReason(error)
  if (reason === null) return null
  if (method === 'GET') return unread(reason, error)
  // Without a principal, the database failed while the key was being looked up.
  if (principal === undefined) return undecided(reason, error)
  if (wait === undefined) return databaseProblem(error)
  return wait.isUnsent() ? unchanged(reason, error) : maybeChanged(reason, error)
}
