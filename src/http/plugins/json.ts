import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import { invalidRequest } from '../../errors.ts'

/** A number whose text may say more than a double holds: sixteen digits or more in a row. */
const LONG_NUMBER = /[0-9.]{16}/

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

export function parseJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && source.length >= 16 && !isExact(value, source)
      ? source
      : value,
  )
}

function isExact(value: number, source: string): boolean {
  const digits = (text: string) =>
    text
      .replace(/^-/, '')
      .replace(/^0+(?=[0-9])/, '')
      .replace(/(\.[0-9]*?)0+$/, '$1')
      .replace(/\.$/, '')
  return digits(String(value)) === digits(source)
}
