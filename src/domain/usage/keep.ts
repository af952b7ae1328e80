import { isObject } from '../is-object.ts'

/** The largest object that is kept, as JSON text. A larger one is dropped whole. */
const KEPT_BYTES_MAX = 16_384

/** A word or name as usage objects have them: a tier, a model (`claude-…@20250929`, `…[1m]`). Anything that could be prose is dropped. */
const WORD = /^[A-Za-z0-9_.:/[\]-]{1,64}(@[A-Za-z0-9-]{1,64})?$/

/**
 * What is kept of a usage object that could not be read, for a reader that will: its numbers and words, in their places. Texts are
 * left out, since a whole answer may have come along. Null where it would be too large.
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
