/** The content of a delivery, the same in every attempt. Amounts are raw JSON numbers with all their digits. */
export type Message = {
  /** The same in every attempt, so that a receiver recognises a repeat. */
  id: string
  type: string
  /** RFC 3339: when it happened. */
  timestamp: string
  data: Record<string, unknown>
}

/** A value of `data` as text for people. */
export function valueText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null)
}
