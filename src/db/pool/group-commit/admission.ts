import type { Queue } from './queue.ts'

export type AdmissionLimits = { waitingMax: number; queueMsMax: number; itemsMax: number; batchesMax: number }

/** Whether the queue has no room for one more entry of this key, or the entry would wait longer than queueMsMax. */
export function isOverloaded<Item, Answer>(
  queue: Queue<Item, Answer>,
  key: string | null,
  limits: AdmissionLimits,
): boolean {
  const { waitingMax, queueMsMax, itemsMax } = limits
  if (queue.waiting.length >= waitingMax) return true
  // A batch takes only one entry of each key. Many entries of one key would make the queue look longer than it is for all
  // other callers.
  if (key !== null && (queue.waitingByKey.get(key) ?? 0) >= itemsMax) return true
  return expectedWaitMs(queue, limits) > queueMsMax
}

/**
 * Estimates how long one more entry would wait before it is sent: the number of batches that must return first, times the
 * time of one batch. The time of one batch is the shorter of the last two, so one slow batch (a lock, a busy disk) does not
 * spoil the estimate. If the oldest batch in flight has already taken longer, its time counts instead.
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
