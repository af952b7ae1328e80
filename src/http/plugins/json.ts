import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseJson } from '../../domain/exact-json.ts'
import { findExcess, isSmall } from '../../domain/json-bounds.ts'
import { invalidRequest } from '../../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the route takes more of than others: `text` a long text, `bulk` many items, `usage` the usage of many steps. */
    body?: keyof typeof LARGER_BODIES
  }
}

/** Of a body of a route that says nothing else. */
export const BODY_BYTES_MAX = 65_536
const BODY_MEMBERS_MAX = 1_000

/** A thousand records with every field, label and count have less than 50,000 members. */
const LARGER_BODIES = {
  text: { bytesMax: 1_048_576, membersMax: BODY_MEMBERS_MAX, membersOfOneMax: undefined },
  bulk: { bytesMax: 1_048_576, membersMax: 50_000, membersOfOneMax: undefined },
  // A usage of a hundred steps, or the body around an embedding of 3,072 numbers: refusing it would lose the commit.
  usage: { bytesMax: BODY_BYTES_MAX, membersMax: 10_000, membersOfOneMax: 4_000 },
} as const

/**
 * JSON in and out. In: a number that a double can't hold is kept as its decimal text, so that an amount is taken by what
 * was written. Out: plain JSON.stringify, so that amounts made by JSON.rawJSON are written as they are.
 */
export function registerJson(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    if (route.config?.body !== undefined) route.bodyLimit = LARGER_BODIES[route.config.body].bytesMax
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const text = body.toString()
    // What is not UTF-8 would be stored as this character; the whole body is looked at only where it occurs.
    if (text.includes('\ufffd') && !isUtf8(body as Buffer)) {
      return done(invalidRequest([{ pointer: '', message: 'is not UTF-8' }]), undefined)
    }
    const excess = isSmall(text) ? null : excessOf(request, text)
    if (excess !== null) return done(invalidRequest([{ pointer: '', message: excess }]), undefined)
    let value: unknown
    try {
      value = text === '' ? undefined : parseJson(text)
    } catch {
      return done(invalidRequest([{ pointer: '', message: 'is not JSON' }]), undefined)
    }
    done(null, value)
  })
  app.setSerializerCompiler(() => (body) => JSON.stringify(body))
}

function excessOf(request: FastifyRequest, text: string): string | null {
  const { body } = request.routeOptions.config
  if (body === undefined) return findExcess(text, BODY_MEMBERS_MAX)
  const { membersMax, membersOfOneMax } = LARGER_BODIES[body]
  return findExcess(text, membersMax, membersOfOneMax)
}
