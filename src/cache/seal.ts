import { createHmac, timingSafeEqual } from 'node:crypto'

/** Closes a text for one key and a time, and opens only what was closed so. */
export type Seal = {
  close(key: string, text: string, ttlSeconds: number): string
  /** Null for what was never closed with this secret, for another key, was changed since, or has outlived its time. */
  open(key: string, sealed: string): string | null
}

const SEALED = /^(\d{1,16})\.([\w-]{43})\.(.*)$/s

/** A seal of who knows the secret (HMAC-SHA-256): what somebody else writes into a shared store is not believed. */
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
