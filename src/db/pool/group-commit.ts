import { setImmediate } from 'node:timers'
import { Problem } from '../../errors.ts'
import {
  isConnectionFault,
  isItemFault,
  isLockTimeout,
  isRetryable,
  databaseProblem,
  unanswered,
  undecided,
} from './faults.ts'

export type GroupCommitOptions<Item, Answer> = {
  /** Runs one batch in one transaction; answers[i] is for items[i]. */
  run: (items: Item[]) => Promise<Answer[]>
  /** Items of one key never share a batch: the later one goes with another and finds what the first did. */
  keyOf: (item: Item) => string | null
  /** Items that may wait for the same lock: who did not get one in time goes on without the others. By default each its own. */
  lockOf?: (item: Item) => string
  /** Tells from an answer whether other instances decided the like while its batch was with Postgres. */
  isCrowded?: (answer: Answer) => boolean
  /** What to do with an answer that comes after its caller has been told that it did not. */
  onLate?: (item: Item, answer: Answer) => void
  /** What to do with an item whose caller has been told that it is not known whether it was decided, and whose answer will not come. */
  onLost?: (item: Item) => void
  /** At most so many items a batch. */
  itemsMax?: number
  /** At most so many wait, of them itemsMax of one key; one more is refused at once. */
  waitingMax?: number
  /** One that would wait longer than this before it is sent, as batches last just now, is refused at once. */
  queueMsMax?: number
  /** At most so many batches are with Postgres. One makes the largest batches: measured, two at once were slower. */
  batchesMax?: number
  /** No caller waits longer, whether its item is with Postgres or not. */
  waitMsMax?: number
}

/** Takes an item in; isGone tells whether nobody waits for its answer any more: unless it has been sent, it is not decided then. */
export type Decide<Item, Answer> = (item: Item, isGone?: () => boolean) => Promise<Answer>

type Entry<Item, Answer> = {
  item: Item
  key: string | null
  isGone: (() => boolean) | undefined
  /** By performance.now(). */
  until: number
  settled: boolean
  resolve: (answer: Answer) => void
  reject: (reason: unknown) => void
}

/** How often a batch may be sent still, and whether an answer to it was lost: then it may have been decided already. */
type Sent = { tries: number; lost: boolean }

const FIRST: Sent = { tries: 2, lost: false }

/** So many parts of a batch that met a lock are sent at once: one that waits for it doesn't hold up the others. */
const PARTS_MAX = 3

/** Lets the next batch go; where other instances decide too, as soon as those who are answered are back. */
type MakeRoom = (crowded?: boolean) => void

/** A batch that is with Postgres, since when, and what lets the next one go. */
type Out<Item, Answer> = { entries: Entry<Item, Answer>[]; sentAt: number; makeRoom: MakeRoom }

/** So many go together in any case: what a call costs Postgres is as much as five items. */
const FEW = 8

/** Where other instances decide too, a batch waits so long for its callers at most, and as long as the last one was with Postgres. */
const LINGER_MS_MAX = 100

/** Callers that have waited too long are looked for this often. */
const LOOK_MS = 50

/**
 * Lets requests that wait at the same moment share one transaction: while batches are with Postgres, arrivals queue up,
 * and leave when one returns. An idle service sends at once, without a timer; where other instances decide too, the next
 * batch waits a moment for those who were answered by the last.
 *
 * A batch that fails by deadlock or a lost connection is sent once more with the same ids, so that a repeat can't
 * double; one that fails by an item is halved until the item stands alone, and one that did not get a lock in time is sent
 * by lockOf in parts, because halves would wait for it as long again. None of this goes on for items whose callers have
 * waited waitMsMax: they have been told, and once all of a batch have, the next one does not wait for it. Answers reject
 * with a Problem: `unavailable`, or `overloaded` where the queue is longer than can be decided in time.
 */
export function groupCommit<Item, Answer>(options: GroupCommitOptions<Item, Answer>): Decide<Item, Answer> {
  const { run, keyOf, lockOf, isCrowded, onLate, onLost, itemsMax = 250, batchesMax = 1, waitMsMax = 1_800 } = options
  const { waitingMax = 20_000, queueMsMax = 1_000 } = options
  let waiting: Entry<Item, Answer>[] = []
  /** How many wait, by key. */
  const ofKey = new Map<string, number>()
  let looking = false
  const out = new Set<Out<Item, Answer>>()
  let leaving = false
  /** Set while the next batch waits: for so many items. */
  let lingering: { until: number; stop: () => void } | null = null
  /** How long the last batch and the one before it were with Postgres. */
  let lastMs: [number, number] = [0, 0]

  async function settle(batch: Entry<Item, Answer>[], makeRoom: MakeRoom, sent: Sent = FIRST): Promise<void> {
    const entries = batch.filter(({ settled }) => !settled)
    if (sent.lost) for (const { item, settled } of batch) if (settled) onLost?.(item)
    if (entries.length === 0) return
    let answers: Answer[]
    try {
      answers = await run(entries.map(({ item }) => item))
    } catch (error) {
      return goOn(entries, makeRoom, { ...sent, lost: sent.lost || isConnectionFault(error) }, error)
    }
    // Before the answers are made: Postgres decides the next batch meanwhile.
    makeRoom(isCrowded?.(answers[0]!) === true)
    for (const [index, entry] of entries.entries()) {
      const answer = answers[index] as Answer
      if (entry.settled) onLate?.(entry.item, answer)
      else {
        entry.settled = true
        entry.resolve(answer)
      }
    }
  }

  async function goOn(entries: Entry<Item, Answer>[], makeRoom: MakeRoom, sent: Sent, error: unknown): Promise<void> {
    const { tries } = sent
    if (tries > 1 && (isRetryable(error) || isConnectionFault(error))) {
      return settle(entries, makeRoom, { ...sent, tries: tries - 1 })
    }
    const parts = isLockTimeout(error) ? partsOf(entries) : []
    if (parts.length > 1) {
      const sendOn = async () => {
        for (let part = parts.shift(); part !== undefined; part = parts.shift()) await settle(part, () => {}, sent)
      }
      await Promise.all(Array.from({ length: PARTS_MAX }, sendOn))
      return
    }
    if (entries.length > 1 && isItemFault(error)) {
      const middle = entries.length >> 1
      await settle(entries.slice(0, middle), () => {}, { ...sent, tries: FIRST.tries })
      return settle(entries.slice(middle), makeRoom, { ...sent, tries: FIRST.tries })
    }
    const problem = sent.lost ? unanswered('The database did not answer', error) : databaseProblem(error)
    for (const entry of entries) {
      refuse(entry, problem)
      if (sent.lost) onLost?.(entry.item)
    }
  }

  function partsOf(entries: Entry<Item, Answer>[]): Entry<Item, Answer>[][] {
    return lockOf === undefined
      ? entries.map((entry) => [entry])
      : [...Map.groupBy(entries, ({ item }) => lockOf(item)).values()]
  }

  function refuse(entry: Entry<Item, Answer>, reason: unknown): void {
    if (entry.settled) return
    entry.settled = true
    entry.reject(reason)
  }

  /** Tells those who have waited too long, and looks again as long as anybody waits. */
  function look(): void {
    const now = performance.now()
    const waitedTooLong = ({ until }: Entry<Item, Answer>) => until <= now
    for (const { entries, makeRoom } of [...out]) {
      for (const entry of entries.filter(waitedTooLong))
        refuse(entry, unanswered('The database did not answer in time'))
      if (entries.every(({ settled }) => settled)) makeRoom()
    }
    for (const entry of waiting.filter(waitedTooLong)) {
      countKey(entry, -1)
      refuse(entry, undecided('too many requests were before it'))
    }
    waiting = waiting.filter(({ settled }) => !settled)
    looking = waiting.length > 0 || out.size > 0
    if (looking) setTimeout(look, LOOK_MS)
  }

  function countKey({ key }: Entry<Item, Answer>, more: 1 | -1): void {
    if (key === null) return
    const waitingNow = (ofKey.get(key) ?? 0) + more
    if (waitingNow === 0) ofKey.delete(key)
    else ofKey.set(key, waitingNow)
  }

  function takeBatch(most: number): Entry<Item, Answer>[] {
    const batch: Entry<Item, Answer>[] = []
    const later: Entry<Item, Answer>[] = []
    const keys = new Set<string>()
    for (const entry of waiting) {
      if (entry.isGone?.() === true) {
        countKey(entry, -1)
        refuse(entry, undecided('its caller has gone'))
        continue
      }
      const { key } = entry
      if (batch.length >= most || (key !== null && keys.has(key))) later.push(entry)
      else {
        // It refers to the whole request, which is not to live as long as this entry: garbage that grows old is dear.
        entry.isGone = undefined
        countKey(entry, -1)
        batch.push(entry)
        if (key !== null) keys.add(key)
      }
    }
    waiting = later
    return batch
  }

  /**
   * Sends what waits: all of it where nobody is about to be answered; else, above FEW, half of it and of the `answered`, who
   * are expected again. So Postgres and Node each have half of the work, where a batch of nearly all and one of the rest, in
   * turn, let each wait for the other.
   */
  function leave(answered = waiting.length): void {
    leaving = false
    while (out.size < batchesMax && waiting.length > 0) {
      const half = Math.ceil((waiting.length + answered) / 2)
      const entries = takeBatch(Math.min(itemsMax, Math.max(FEW, half)))
      if (entries.length > 0) void send(entries)
    }
  }

  /**
   * Waits for the callers that are answered now before the next batch leaves: where other instances decide too, it would
   * wait for them anyway, and a call costs Postgres as much as several items.
   */
  function linger(answered: number): void {
    const timer = setTimeout(stop, Math.min(LINGER_MS_MAX, lastMs[0]))
    lingering = { until: Math.min(itemsMax, waiting.length + answered), stop }
    function stop() {
      clearTimeout(timer)
      lingering = null
      leave()
    }
  }

  async function send(entries: Entry<Item, Answer>[]): Promise<void> {
    const sentAt = performance.now()
    const makeRoom = (crowded = false) => {
      if (!out.delete(batch)) return
      lastMs = [performance.now() - sentAt, lastMs[0]]
      if (crowded && waiting.length < itemsMax) linger(entries.length)
      else leave(entries.length)
    }
    const batch = { entries, sentAt, makeRoom }
    out.add(batch)
    await settle(entries, makeRoom)
    makeRoom()
  }

  /**
   * How long one more would wait: for the batches before it, each as long as the shorter of the last two, which one that
   * met a lock or a slow disk does not spoil, or as the one that is out where that takes longer already.
   */
  function expectedMs(): number {
    if (out.size < batchesMax) return 0
    const [oldest] = out
    const batchMs = Math.max(Math.min(...lastMs), performance.now() - oldest!.sentAt)
    return Math.ceil((waiting.length + 1) / (itemsMax * batchesMax)) * batchMs
  }

  return (item, isGone) =>
    new Promise((resolve, reject) => {
      const key = keyOf(item)
      // Each batch takes one of a key: more of them than a batch has would make the queue look longer to all others than it is.
      const isFull = waiting.length >= waitingMax || (key !== null && (ofKey.get(key) ?? 0) >= itemsMax)
      if (isFull || expectedMs() > queueMsMax) {
        reject(
          new Problem('overloaded', 'More requests wait than can be decided in time. Try again later.', {
            headers: { 'retry-after': '1' },
          }),
        )
        return
      }
      const entry = { item, key, isGone, until: performance.now() + waitMsMax, settled: false, resolve, reject }
      waiting.push(entry)
      countKey(entry, 1)
      if (!looking) {
        looking = true
        setTimeout(look, LOOK_MS)
      }
      if (lingering !== null && waiting.length >= lingering.until) lingering.stop()
      if (lingering !== null || leaving || out.size >= batchesMax) return
      leaving = true
      // After the sockets that are readable now have been read, so that simultaneous arrivals share a batch.
      setImmediate(() => leave())
    })
}
