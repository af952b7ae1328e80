import { unanswered, undecided } from '../faults.ts'
import { countKey, isFinal, refuse, type Queue } from './queue.ts'

/** Time between two checks of deadlines. So a caller may wait up to this much longer than waitMsMax. */
const DEADLINE_CHECK_MS = 50

/** Starts the checks of deadlines, unless they run already. They end when nothing waits and nothing is in flight. */
export function watchDeadlines<Item, Answer>(queue: Queue<Item, Answer>): void {
  if (queue.checksDeadlines) return
  queue.checksDeadlines = true
  setTimeout(refuseOverdue, DEADLINE_CHECK_MS, queue)
}

/** Refuses every entry past its deadline, and frees the slot of each batch whose entries are all final. */
function refuseOverdue<Item, Answer>(queue: Queue<Item, Answer>): void {
  const now = performance.now()
  // Iterate over a copy, because freeSlot() changes the set.
  for (const { entries, freeSlot } of [...queue.inFlight]) {
    for (const entry of entries) {
      if (entry.deadlineMs <= now) refuse(entry, unanswered('The database did not answer in time'))
    }
    if (entries.every(isFinal)) freeSlot()
  }
  for (const entry of queue.waiting) {
    if (entry.deadlineMs > now) continue
    countKey(queue, entry, -1)
    refuse(entry, undecided('too many requests were before it'))
  }
  queue.waiting = queue.waiting.filter(({ state }) => state === 'waiting')
  queue.checksDeadlines = false
  if (queue.waiting.length > 0 || queue.inFlight.size > 0) watchDeadlines(queue)
}
