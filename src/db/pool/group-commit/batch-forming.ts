import { undecided } from '../faults.ts'
import { countKey, refuse, type Entry, type Queue } from './queue.ts'

/** Never split below this: a call costs Postgres about as much as five items. */
const SPLIT_ITEMS_MIN = 8

/**
 * Takes the entries of the next batch out of the queue: all that wait, and itemsMax at most.
 *
 * While some callers are `answered`, they are expected back with their next requests, and the batch takes half of both groups
 * together. Postgres and Node then each have half of the work at any time. If a batch of nearly all and a batch of the rest
 * went in turn, each of the two would wait for the other.
 */
export function formBatch<Item, Answer>(
  queue: Queue<Item, Answer>,
  answered: number,
  itemsMax: number,
): Entry<Item, Answer>[] {
  if (answered === 0) return takeBatch(queue, itemsMax)
  const half = Math.ceil((queue.waiting.length + answered) / 2)
  return takeBatch(queue, Math.min(itemsMax, Math.max(SPLIT_ITEMS_MIN, half)))
}

/** Takes at most `most` entries, one of each key, in order of arrival. Refuses those whose caller has gone. */
function takeBatch<Item, Answer>(queue: Queue<Item, Answer>, most: number): Entry<Item, Answer>[] {
  const batch: Entry<Item, Answer>[] = []
  const later: Entry<Item, Answer>[] = []
  const keys = new Set<string>()
  for (const entry of queue.waiting) {
    if (entry.isGone?.() === true) {
      countKey(queue, entry, -1)
      refuse(entry, undecided('its caller has gone'))
      continue
    }
    const { key } = entry
    if (batch.length >= most || (key !== null && keys.has(key))) later.push(entry)
    else {
      entry.state = 'sent'
      // It refers to the whole request. An entry may live long, and garbage that grows old is expensive to collect.
      entry.isGone = undefined
      countKey(queue, entry, -1)
      batch.push(entry)
      if (key !== null) keys.add(key)
    }
  }
  queue.waiting = later
  return batch
}
