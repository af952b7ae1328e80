import { isConnectionFault, isRetryable } from './faults.ts'

/**
 * Sends a statement, and sends it once more if it met a deadlock or its answer was lost.
 *
 * @param send must be safe to repeat: its ids are made beforehand, so that two calls have the effect of one.
 */
export async function sendAgain<Answer>(send: () => Promise<Answer>): Promise<Answer> {
  try {
    return await send()
  } catch (error) {
    if (!isRetryable(error) && !isConnectionFault(error)) throw error
    return send()
  }
}
