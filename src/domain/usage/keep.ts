import { isObject } from '../is-object.ts'

/** The largest object that is kept, in bytes of JSON text. A larger one is dropped whole. */
const KEPT_BYTES_MAX = 16_384

/**
 * Matches single words and names as usage objects have them: a tier, a model (`claude-…@20250929`, `…[1m]`). Other
 * strings could be prose, so they are dropped.
 */
const WORD = /^[A-Za-z0-9_.:/[\]-]{1,64}(@[A-Za-z0-9-]{1,64})?$/

/**
 * Reduces a usage object that could not be read to its numbers and single words, each in its place, so that a later
 * release can read it. Longer texts are dropped, because a caller may have sent a whole answer along. Null if the
 * result is too large.
 */
export function keepUsage(raw: Record<string, unknown>): Record<string, unknown> | null {
  const kept = keep(raw) as Record<string, unknown>
  return Buffer.byteLength(JSON.stringify(kept)) > KEPT_BYTES_MAX ? null : kept
}

function keep(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => keep(one) ?? null)
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).flatMap(([name, part]) => {
        const kept = keep(part)
        return kept === undefined || !WORD.test(name) ? [] : [[name, kept]]
      }),
    )
  }
  if (typeof value === 'string') return WORD.test(value) ? value : undefined
  return typeof value === 'number' && !Number.isFinite(value) ? undefined : value
}
