/** What is told, the same in every attempt. Amounts are raw JSON numbers, all their digits. */
export type Message = {
  /** Constant over attempts, so that a receiver can tell a repeat. */
  id: string
  type: string
  /** RFC 3339: when it happened. */
  timestamp: string
  data: Record<string, unknown>
}

/** A value of `data` for people. */
export function valueText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null)
}
