import stringify from 'safe-stable-stringify'
import { hash } from 'node:crypto'

/** By which a repeat is told from another request with the same key: SHA-256 of the request's fields in any order, as bytea in hexadecimal. */
export function requestHash(request: object): string {
  return `\\x${hash('sha256', stringify(request), 'hex')}`
}
