import type { Queue } from './queue.ts'

export type AdmissionLimits = { waitingMax: number; queueMsMax: number; itemsMax: number; batchesMax: number }

/** Whether one more entry of this key would find the queue full, or would wait longer than queueMsMax before it is sent. */
export function isOverloaded<Item, Answer>(
  queue: Queue<Item, Answer>,
  key: string | null,
  limits: AdmissionLimits,
): boolean {
  const { waitingMax, queueMsMax, itemsMax } = limits
  if (queue.waiting.length >= waitingMax) return true
  // A batch takes one entry of a key. More than itemsMax of one key would make the queue look longer to all other callers than
  // it is.
  if (key !== null && (queue.waitingByKey.get(key) ?? 0) >= itemsMax) return true
  return expectedWaitMs(queue, limits) > queueMsMax
}

/**
 * How long one more entry would wait before it is sent: how many batches have to return first, times how long one takes. That
 * is the shorter time of the last two, so a single slow one (a lock, a busy disk) does not spoil the estimate. If the oldest
 * batch in flight has taken longer already, its time counts instead.
 */
function expectedWaitMs<Item, Answer>(
  { waiting, inFlight, lastBatchesMs }: Queue<Item, Answer>,
  { itemsMax, batchesMax }: AdmissionLimits,
): number {
  if (inFlight.size < batchesMax) return 0
  const [oldest] = inFlight
  const batchMs = Math.max(Math.min(...lastBatchesMs), performance.now() - oldest!.sentAtMs)
  return Math.ceil((waiting.length + 1) / (itemsMax * batchesMax)) * batchMs
}
