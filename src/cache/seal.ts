import { createHmac, timingSafeEqual } from 'node:crypto'

/** Signs a text for one key and a lifetime, and returns only texts that were signed this way. */
export type Seal = {
  close(key: string, text: string, ttlSeconds: number): string
  /** Null if the text was not signed with this secret, is for another key, was changed, or has expired. */
  open(key: string, sealed: string): string | null
}

const SEALED = /^(\d{1,16})\.([\w-]{43})\.(.*)$/s

/** Signs with HMAC-SHA-256, so that what others write into the shared store is not trusted. */
export function sealWith(secret: string): Seal {
  const sign = (key: string, expiresAtMs: string, text: string) =>
    createHmac('sha256', secret).update(`${key}\n${expiresAtMs}\n${text}`).digest('base64url')
  return {
    close: (key, text, ttlSeconds) => {
      const expiresAtMs = String(Date.now() + ttlSeconds * 1000)
      return `${expiresAtMs}.${sign(key, expiresAtMs, text)}.${text}`
    },
    open: (key, sealed) => {
      const [, expiresAtMs, signature, text] = SEALED.exec(sealed) ?? []
      if (expiresAtMs === undefined || signature === undefined || text === undefined) return null
      if (Number(expiresAtMs) <= Date.now()) return null
      return timingSafeEqual(Buffer.from(signature), Buffer.from(sign(key, expiresAtMs, text))) ? text : null
    },
  }
}
