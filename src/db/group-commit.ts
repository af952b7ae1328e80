import { setImmediate } from 'node:timers'
import { Problem } from '../errors.ts'
import { isConnectionFault, isItemFault, isRetryable, toProblem } from './faults.ts'

export type GroupCommitOptions<Item, Answer> = {
  /** Runs one batch in one transaction; answers[i] is for items[i]. */
  run: (items: Item[]) => Promise<Answer[]>
  /** Items of one key never share a batch: the later one goes with another and finds what the first did. */
  keyOf: (item: Item) => string | null
  /** At most so many items a batch. */
  itemsMax?: number
  /** At most so many wait; one more is refused at once. */
  waitingMax?: number
  /** At most so many batches are with Postgres. One makes the largest batches: measured, two at once were slower. */
  batchesMax?: number
}

type Waiting<Item, Answer> = { item: Item; resolve: (answer: Answer) => void; reject: (reason: unknown) => void }

/**
 * Lets requests that wait at the same moment share one transaction: while batches are with Postgres, arrivals queue up,
 * and leave together when one returns. An idle service sends at once, without a timer.
 *
 * A batch that fails by deadlock or a lost connection is sent once more with the same ids, so that a repeat can't
 * double; one that fails by an item is halved until the item stands alone. Answers reject with a Problem: `unavailable`,
 * or `overloaded` beyond waitingMax.
 */
export function groupCommit<Item, Answer>(options: GroupCommitOptions<Item, Answer>): (item: Item) => Promise<Answer> {
  const { run, keyOf, itemsMax = 250, waitingMax = 20_000, batchesMax = 1 } = options
  let waiting: Waiting<Item, Answer>[] = []
  let batches = 0
  let leaving = false

  async function settle(batch: Waiting<Item, Answer>[], tries = 2): Promise<void> {
    try {
      const answers = await run(batch.map(({ item }) => item))
      batch.forEach(({ resolve }, index) => resolve(answers[index] as Answer))
    } catch (error) {
      if (tries > 1 && (isRetryable(error) || isConnectionFault(error))) return settle(batch, tries - 1)
      if (batch.length > 1 && isItemFault(error)) {
        const middle = batch.length >> 1
        await settle(batch.slice(0, middle))
        return settle(batch.slice(middle))
      }
      for (const { reject } of batch) reject(toProblem(error))
    }
  }

  function takeBatch(): Waiting<Item, Answer>[] {
    const batch: Waiting<Item, Answer>[] = []
    const later: Waiting<Item, Answer>[] = []
    const keys = new Set<string>()
    for (const entry of waiting) {
      const key = keyOf(entry.item)
      if (batch.length >= itemsMax || (key !== null && keys.has(key))) later.push(entry)
      else {
        batch.push(entry)
        if (key !== null) keys.add(key)
      }
    }
    waiting = later
    return batch
  }

  function leave(): void {
    leaving = false
    while (batches < batchesMax && waiting.length > 0) {
      batches += 1
      void settle(takeBatch()).then(() => {
        batches -= 1
        leave()
      })
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      if (waiting.length >= waitingMax) {
        reject(
          new Problem('overloaded', 'More requests wait than can be decided in time. Try again later.', {
            headers: { 'retry-after': '1' },
          }),
        )
        return
      }
      waiting.push({ item, resolve, reject })
      if (leaving || batches >= batchesMax) return
      leaving = true
      // After the sockets that are readable now have been read, so that simultaneous arrivals share a batch.
      setImmediate(leave)
    })
}
