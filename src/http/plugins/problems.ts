import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { faultReason, maybeChanged, databaseProblem, unchanged, undecided, unread } from '../../db/pool/faults.ts'
import { ERRORS, invalidRequest, Problem, type ErrorCode } from '../../errors.ts'
import { BODY_BYTES_MAX } from './json.ts'
import { fieldErrors } from './validation.ts'

/** Errors of Fastify that a caller can cause. */
const FASTIFY_CODES: Record<string, [ErrorCode, string]> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'Send the body as application/json'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['invalid_request', 'content-length does not match the body'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['invalid_request', 'The body is empty; send a JSON object'],
  FST_ERR_BAD_URL: ['invalid_request', 'The path is not valid percent-encoded UTF-8'],
  FST_ERR_MAX_PARAM_LENGTH: ['uri_too_long', 'A part of the path is too long'],
}

const TOO_LARGE = 'FST_ERR_CTP_BODY_TOO_LARGE'

/** Errors of Node for input that is not a complete request. */
const CLIENT_ERRORS: Record<string, string> = {
  HPE_HEADER_OVERFLOW: 'The headers are larger than 16 KiB',
  ERR_HTTP_REQUEST_TIMEOUT: 'The request was not sent in time',
}

/** Answers every error as application/problem+json (RFC 9457). Internal causes go to the log only. */
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
    const detail = `${path} does not support ${request.method}. It supports ${allowed.join(', ')}.`
    return sendProblem(
      request,
      reply,
      new Problem('method_not_allowed', detail, { headers: { allow: allowed.join(', ') } }),
    )
  })
}

/** Answers an error. Also used for requests that Fastify refuses before it knows the route. */
export function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const problem = error.code === TOO_LARGE ? tooLarge(request, error) : toProblem(request, error)
  if (problem.code === 'payload_too_large') readOn(request, reply)
  // During an overload the request's own log line is enough. A stack trace for each would add load.
  if (ERRORS[problem.code].status >= 500 && problem.code !== 'overloaded')
    request.log.error({ err: error }, 'request failed')
  void sendProblem(request, reply, problem)
}

/**
 * Reads a refused body to its end and drops it, within the time limit of a request. If the connection were closed at once, a
 * caller that is still sending would get a broken pipe instead of the answer.
 */
function readOn(request: FastifyRequest, reply: FastifyReply): void {
  reply.removeHeader('connection')
  request.raw.resume()
}

/** Answers input that is not HTTP. There is no request object, so it writes to the socket and closes it. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) return void socket.destroy()
  const detail = CLIENT_ERRORS[error.code ?? ''] ?? 'This is not an HTTP/1.1 request'
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
  return new Problem('payload_too_large', `The body is larger than ${kib} KiB, the limit of this route`, {
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
  return new Problem('internal', 'The service failed. Its log has the reason under the request_id.', { cause: error })
}

/** The answer to a database fault, which depends on how far the request had come; null for any other error. */
function faultOf({ principal, method, wait }: FastifyRequest, error: FastifyError): unknown {
  const reason = faultReason(error)
  if (reason === null) return null
  if (method === 'GET') return unread(reason, error)
  // No principal yet: the database failed during the look-up of the key.
  if (principal === undefined) return undecided(reason, error)
  if (wait === undefined) return databaseProblem(error)
  return wait.isUnsent() ? unchanged(reason, error) : maybeChanged(reason, error)
}
