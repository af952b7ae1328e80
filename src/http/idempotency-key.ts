import { invalidRequest } from '../errors.ts'

// An sf-string of RFC 8941: printable ASCII in double quotes; the only escapes are \" and \\.
const QUOTED = /^"(?:[ !#-[\]-~]|\\["\\])*"$/
const BARE = /^[!#-~]+$/
const CHARACTERS_MAX = 255

/** The key of the Idempotency-Key header, with or without quotes; null without the header. @throws invalidRequest */
export function idempotencyKeyOf(header: string | string[] | undefined): string | null {
  if (header === undefined) return null
  const text = typeof header === 'string' ? header.trim() : ''
  const key = QUOTED.test(text) ? text.slice(1, -1).replace(/\\(["\\])/g, '$1') : BARE.test(text) ? text : ''
  if (key.length === 0 || key.length > CHARACTERS_MAX) {
    throw invalidRequest([
      {
        pointer: 'Idempotency-Key',
        message: `must be 1 to ${CHARACTERS_MAX} printable ASCII characters, in double quotes or without spaces`,
      },
    ])
  }
  return key
}
