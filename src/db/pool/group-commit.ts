// Group commit: items that arrive at the same moment share one transaction. An entry is one item and its waiting caller.
//
//   from      to         when                                           where
//   (new)     waiting    the queue has room                             admission.ts
//   waiting   sent       a batch takes it                               batch-forming.ts
//   waiting   refused    its caller has gone                            batch-forming.ts
//   waiting   refused    its caller has waited waitMsMax                deadlines.ts
//   sent      answered   its batch succeeded, or its part of the batch  sending.ts
//   sent      refused    its batch failed, and a resend cannot help     sending.ts
//   sent      refused    its caller has waited waitMsMax                deadlines.ts
//
// This file holds the options and the loop that sends batches. The other parts are in group-commit/. They share the state
// in queue.ts.
import { setImmediate } from 'node:timers'
import { Problem } from '../../errors.ts'
import { isOverloaded } from './group-commit/admission.ts'
import { formBatch } from './group-commit/batch-forming.ts'
import { watchDeadlines } from './group-commit/deadlines.ts'
import { countKey, openQueue, type Batch, type Entry } from './group-commit/queue.ts'
import { runBatch } from './group-commit/sending.ts'

export type GroupCommitOptions<Item, Answer> = {
  /** Runs one batch in one transaction; answers[i] is for items[i]. */
  run: (items: Item[]) => Promise<Answer[]>
  /** Items with the same key never share a batch. The second goes into a later batch and finds the result of the first. */
  keyOf: (item: Item) => string | null
  /**
   * Names the lock that an item may have to wait for. A batch that does not get a lock in time is sent again in parts. Items
   * that name the same lock are in one part. Without lockOf, each item is a part.
   */
  lockOf?: (item: Item) => string
  /** Whether an answer says that other instances decided the same kind of item while its batch was in flight. */
  isContended?: (answer: Answer) => boolean
  /** Called with the answer to an item that was refused while it was in flight. */
  onLate?: (item: Item, answer: Answer) => void
  /** Called with an item whose answer was lost. Its caller was told that the outcome is unknown. No answer will come. */
  onLost?: (item: Item) => void
  /** Most items in a batch. */
  itemsMax?: number
  /** Most entries that wait. Of these, at most itemsMax have the same key. An entry above either limit is refused at once. */
  waitingMax?: number
  /** Longest wait before an item is sent. An item whose estimated wait is longer is refused at once. */
  queueMsMax?: number
  /** Most batches in flight. With 1, batches are largest. In a measurement, two at once were slower. */
  batchesMax?: number
  /** Longest wait of a caller, whether its item has been sent or not. */
  waitMsMax?: number
}

/**
 * Queues an item and resolves with its answer.
 *
 * @param isGone whether the caller has gone. If the caller goes before its item is sent, the item is never decided.
 */
export type Decide<Item, Answer> = (item: Item, isGone?: () => boolean) => Promise<Answer>

/** Longest time that a batch lingers (waits for more items). It also lingers no longer than the last batch was in flight. */
const LINGER_MS_MAX = 100

/**
 * Lets items that wait at the same moment share one transaction. While batchesMax batches are in flight, new items wait. When
 * a batch returns, the next one is sent or lingers. Otherwise items are sent at once, without a timer.
 *
 * What happens to a batch that fails:
 * - After a deadlock, a serialization failure or a lost connection, it is sent once more with the same ids, so nothing is
 *   done twice.
 * - If one of its items is the cause, the batch is halved again and again, until that item is alone.
 * - If it did not get a lock in time, it is sent again in parts by lockOf. Halves would wait for the lock just as long.
 *
 * Entries that were refused in the meantime are not sent again. If all callers of a batch have waited waitMsMax, the batch
 * gives up its slot, and the next batch is sent.
 *
 * @returns the function that takes items in. Its promise rejects with a Problem: `overloaded` if the queue is too long to be
 * decided in time, `unavailable` if the item was not decided or its outcome is unknown. If a repeat cannot help, the promise
 * rejects with the error of `run`.
 */
export function groupCommit<Item, Answer>(options: GroupCommitOptions<Item, Answer>): Decide<Item, Answer> {
  const { keyOf, itemsMax = 250, batchesMax = 1, waitMsMax = 1_800, waitingMax = 20_000, queueMsMax = 1_000 } = options
  const limits = { itemsMax, batchesMax, waitingMax, queueMsMax }
  const queue = openQueue<Item, Answer>()
  const { inFlight } = queue
  let isSendScheduled = false
  /** Set while the next batch lingers. It is sent when `untilWaiting` entries wait, or when its timer ends. */
  let lingering: { untilWaiting: number; stop: () => void } | null = null

  function enqueue(entry: Entry<Item, Answer>): void {
    queue.waiting.push(entry)
    countKey(queue, entry, 1)
    watchDeadlines(queue)
    if (lingering !== null && queue.waiting.length >= lingering.untilWaiting) lingering.stop()
    if (lingering !== null || isSendScheduled || inFlight.size >= batchesMax) return
    isSendScheduled = true
    // Send only after Node has read all sockets that are readable now, so that simultaneous arrivals share a batch.
    setImmediate(() => sendWaiting())
  }

  /** Sends waiting entries while a slot is free. `answered`: how many callers get their answers now; see formBatch(). */
  function sendWaiting(answered = 0): void {
    isSendScheduled = false
    while (inFlight.size < batchesMax && queue.waiting.length > 0) {
      const entries = formBatch(queue, answered, itemsMax)
      if (entries.length > 0) void sendBatch(entries)
    }
  }

  async function sendBatch(entries: Entry<Item, Answer>[]): Promise<void> {
    const sentAtMs = performance.now()
    const freeSlot = (contended = false) => {
      if (!inFlight.delete(batch)) return
      queue.lastBatchesMs = [performance.now() - sentAtMs, queue.lastBatchesMs[0]]
      if (contended && queue.waiting.length < itemsMax) linger(entries.length)
      else sendWaiting(entries.length)
    }
    const batch: Batch<Item, Answer> = { entries, sentAtMs, freeSlot }
    inFlight.add(batch)
    await runBatch(options, entries, freeSlot)
    freeSlot()
  }

  /**
   * Delays the next batch, so that callers who get their answers now can join it with their next requests. If other instances
   * decide too, the batch would wait for their locks anyway. One call costs Postgres as much as several items, so a larger
   * batch is cheaper.
   */
  function linger(answered: number): void {
    const timer = setTimeout(stop, Math.min(LINGER_MS_MAX, queue.lastBatchesMs[0]))
    lingering = { untilWaiting: Math.min(itemsMax, queue.waiting.length + answered), stop }
    function stop() {
      clearTimeout(timer)
      lingering = null
      sendWaiting()
    }
  }

  return (item, isGone) =>
    new Promise((resolve, reject) => {
      const key = keyOf(item)
      if (isOverloaded(queue, key, limits)) reject(overloaded())
      else enqueue({ item, key, isGone, deadlineMs: performance.now() + waitMsMax, state: 'waiting', resolve, reject })
    })
}

function overloaded(): Problem {
  return new Problem('overloaded', 'More requests wait than can be decided in time. Try again later.', {
    headers: { 'retry-after': '1' },
  })
}
