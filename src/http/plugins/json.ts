import { isUtf8 } from 'node:buffer'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseJson } from '../../domain/exact-json.ts'
import { findExcess, isSmall } from '../../domain/json-bounds.ts'
import { invalidRequest } from '../../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Larger limits for this route: `text` for a long text, `bulk` for many items, `usage` for the usage of many steps. */
    body?: keyof typeof LARGER_BODIES
  }
}

/** The limits of a body, for a route without `config.body`. */
export const BODY_BYTES_MAX = 65_536
const BODY_MEMBERS_MAX = 1_000

/** 1,000 records with every field, label and count have fewer than 50,000 members. */
const LARGER_BODIES = {
  text: { bytesMax: 1_048_576, membersMax: BODY_MEMBERS_MAX, membersOfOneMax: undefined },
  bulk: { bytesMax: 1_048_576, membersMax: 50_000, membersOfOneMax: undefined },
  // Fits a usage of 100 steps, and a body with an embedding of 3,072 numbers. A refusal would lose the commit.
  usage: { bytesMax: BODY_BYTES_MAX, membersMax: 10_000, membersOfOneMax: 4_000 },
} as const

/**
 * Parses and writes JSON. A number that a double can't hold becomes its decimal text, so that an amount keeps every digit the
 * caller wrote. Answers use plain JSON.stringify, so that amounts made by JSON.rawJSON keep their digits.
 */
export function registerJson(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    if (route.config?.body !== undefined) route.bodyLimit = LARGER_BODIES[route.config.body].bytesMax
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const text = body.toString()
    // Invalid UTF-8 decodes to this character. Only a body that contains it needs the full check.
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
