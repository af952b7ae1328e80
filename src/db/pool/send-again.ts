import { isConnectionFault, isRetryable } from './faults.ts'

/**
 * Sends a statement that can be repeated, and once more where it met a deadlock or its answer was lost on the way.
 *
 * @param send makes the same effect once, however often it is called: its ids are made before.
 */
export async function sendAgain<Answer>(send: () => Promise<Answer>): Promise<Answer> {
  try {
    return await send()
  } catch (error) {
    if (!isRetryable(error) && !isConnectionFault(error)) throw error
    return send()
  }
}
