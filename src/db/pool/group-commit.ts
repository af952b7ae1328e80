// Group commit: callers that ask at the same moment share one transaction. An entry is one item with its caller.
//
//   from      to         when                                           where
//   (new)     waiting    the queue has room                             admission.ts
//   waiting   sent       a batch takes it                               batch-forming.ts
//   waiting   refused    its caller has gone                            batch-forming.ts
//   waiting   refused    its caller has waited waitMsMax                deadlines.ts
//   sent      answered   its batch succeeded, or its part of one        sending.ts
//   sent      refused    its batch failed, and no resend can help       sending.ts
//   sent      refused    its caller has waited waitMsMax                deadlines.ts
//
// This file holds the options, and the loop that ties the parts together. The parts are in group-commit/, and share the
// state in queue.ts.
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
  /** Items of one key never share a batch: the later one goes with a later batch, and finds what the first one did. */
  keyOf: (item: Item) => string | null
  /**
   * Names the lock that an item may have to wait for. When a batch does not get a lock in time, it is sent again in parts: the
   * items of one lock together. Default: each item by itself.
   */
  lockOf?: (item: Item) => string
  /** Whether an answer says that other instances decided the same kind of item while its batch was in flight. */
  isContended?: (answer: Answer) => boolean
  /** Called with an answer that came after its caller had been refused. */
  onLate?: (item: Item, answer: Answer) => void
  /** Called with an item whose answer was lost. Its caller was told that the outcome is not known, and none will come. */
  onLost?: (item: Item) => void
  /** Most items in a batch. */
  itemsMax?: number
  /** Most entries that wait, and itemsMax of one key. One more is refused at once. */
  waitingMax?: number
  /** An item that would wait longer than this before it is sent is refused at once. Estimated from the last batches. */
  queueMsMax?: number
  /** Most batches in flight. One makes the largest batches: measured, two at once were slower. */
  batchesMax?: number
  /** Longest wait of a caller, whether its item has been sent or not. */
  waitMsMax?: number
}

/**
 * Queues an item and resolves with its answer.
 *
 * @param isGone whether nobody waits for the answer any more. An item whose caller leaves before it is sent is not decided.
 */
export type Decide<Item, Answer> = (item: Item, isGone?: () => boolean) => Promise<Answer>

/** Longest time that a batch lingers for more items. It lingers no longer than the last batch was in flight. */
const LINGER_MS_MAX = 100

/**
 * Lets items that wait at the same moment share one transaction. While batchesMax batches are in flight, arrivals queue up;
 * they leave when one returns. An idle queue sends at once, without a timer.
 *
 * A batch that fails by a deadlock or a lost connection is sent once more with the same ids, so nothing is done twice. One
 * that fails because of an item is halved until that item stands alone. One that did not get a lock in time is sent again in
 * parts by lockOf, as each half would wait for the lock just as long. Entries that were refused meanwhile are not sent again.
 * Once all callers of a batch have waited waitMsMax, the next batch does not wait for it.
 *
 * @returns the function that takes items in. Its promise rejects with the error of `run` where repeating cannot help, else
 * with a Problem: `overloaded` where the queue is longer than can be decided in time, `unavailable` where the item was not
 * decided or its outcome is not known.
 */
export function groupCommit<Item, Answer>(options: GroupCommitOptions<Item, Answer>): Decide<Item, Answer> {
  const { keyOf, itemsMax = 250, batchesMax = 1, waitMsMax = 1_800, waitingMax = 20_000, queueMsMax = 1_000 } = options
  const limits = { itemsMax, batchesMax, waitingMax, queueMsMax }
  const queue = openQueue<Item, Answer>()
  const { inFlight } = queue
  let isSendScheduled = false
  /** Set while the next batch lingers: it is sent once `untilWaiting` entries wait, or its timer is up. */
  let lingering: { untilWaiting: number; stop: () => void } | null = null

  function enqueue(entry: Entry<Item, Answer>): void {
    queue.waiting.push(entry)
    countKey(queue, entry, 1)
    watchDeadlines(queue)
    if (lingering !== null && queue.waiting.length >= lingering.untilWaiting) lingering.stop()
    if (lingering !== null || isSendScheduled || inFlight.size >= batchesMax) return
    isSendScheduled = true
    // After the sockets that are readable now have been read, so that simultaneous arrivals share a batch.
    setImmediate(() => sendWaiting())
  }

  /** Sends what waits, as far as there are slots. `answered`: how many callers are answered now; see formBatch(). */
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
   * Waits for the callers that are answered now before it sends the next batch. Where other instances decide too, that batch
   * would have to wait for them anyway, and a call costs Postgres as much as several items.
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
