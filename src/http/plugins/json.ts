import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import { parseJson } from '../../domain/exact-json.ts'
import { pointerStep } from '../../domain/json-pointer.ts'
import { invalidRequest, type FieldError } from '../../errors.ts'

/**
 * JSON in and out. In: a number that a double can't hold is kept as its decimal text, so that an amount is taken by what
 * was written. Out: plain JSON.stringify, so that amounts made by JSON.rawJSON are written as they are.
 */
export function registerJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    const text = body.toString()
    // What is not UTF-8 would be stored as this character; the whole body is looked at only where it occurs.
    if (text.includes('\ufffd') && !isUtf8(body as Buffer)) {
      return done(invalidRequest([{ pointer: '', message: 'is not UTF-8' }]), undefined)
    }
    let value: unknown
    try {
      value = text === '' ? undefined : parseJson(text)
    } catch {
      return done(invalidRequest([{ pointer: '', message: 'is not JSON' }]), undefined)
    }
    const oversized = text.length > 2 * MEMBERS_MAX ? findOversized(value) : null
    if (oversized !== null) return done(invalidRequest([oversized]), undefined)
    done(null, value)
  })
  app.setSerializerCompiler(() => (body) => JSON.stringify(body))
}

/** No route takes more in one array or object. Half a million fit in a body, and each would be looked at and told of. */
const MEMBERS_MAX = 1_000
/** No route takes half of it. */
const DEPTH_MAX = 32

/** The first array or object with more members, or deeper, than that. */
function findOversized(body: unknown): FieldError | null {
  let level: [value: unknown, pointer: string][] = [[body, '']]
  for (let depth = 0; level.length > 0; depth++) {
    const below: typeof level = []
    for (const [value, pointer] of level) {
      if (typeof value !== 'object' || value === null) continue
      if (depth === DEPTH_MAX) return { pointer, message: `must NOT be nested deeper than ${DEPTH_MAX} levels` }
      const [count, what] = Array.isArray(value) ? [value.length, 'items'] : [Object.keys(value).length, 'properties']
      if (count > MEMBERS_MAX) return { pointer, message: `must NOT have more than ${MEMBERS_MAX} ${what}` }
      for (const [name, member] of Object.entries(value)) below.push([member, `${pointer}/${pointerStep(name)}`])
    }
    level = below
  }
  return null
}
