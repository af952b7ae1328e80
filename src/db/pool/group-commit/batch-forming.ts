import { undecided } from '../faults.ts'
import { countKey, refuse, type Entry, type Queue } from './queue.ts'

/** Never split below this: a call costs Postgres about as much as five items. */
const SPLIT_ITEMS_MIN = 8

/**
 * Takes the entries of the next batch out of the queue: all that wait, but at most itemsMax.
 *
 * @param answered how many callers get their answers now. They are expected to send their next requests soon. If there are
 * any, the batch takes only half of the sum of waiting entries and answered callers. Postgres and Node then each have half of
 * the work at any time. Otherwise a batch of nearly all callers would alternate with a batch of the rest, and the callers of
 * one batch would wait for the other batch.
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

/** Takes at most `most` entries in order of arrival, but only one of each key. Refuses entries whose caller has gone. */
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
      // isGone refers to the whole request. An entry may live long, and old garbage is expensive to collect.
      entry.isGone = undefined
      countKey(queue, entry, -1)
      batch.push(entry)
      if (key !== null) keys.add(key)
    }
  }
  queue.waiting = later
  return batch
}
