import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import { parseJson } from '../../domain/exact-json.ts'
import { invalidRequest } from '../../errors.ts'

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
    try {
      done(null, text === '' ? undefined : parseJson(text))
    } catch {
      done(invalidRequest([{ pointer: '', message: 'is not JSON' }]), undefined)
    }
  })
  app.setSerializerCompiler(() => (body) => JSON.stringify(body))
}
