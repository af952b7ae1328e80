/** The state of an entry. The table at the top of ../group-commit.ts lists all changes of state. */
export type EntryState =
  /** In the queue, and not yet in a batch. */
  | 'waiting'
  /** In a batch that was sent to Postgres, perhaps more than once. */
  | 'sent'
  /** Final: the caller has its answer. */
  | 'answered'
  /** Final: the caller has an error. If the entry was sent before, Postgres may still decide it: see onLate and onLost. */
  | 'refused'

/** One item on its way through the queue, with the caller that waits for its answer. */
export type Entry<Item, Answer> = {
  item: Item
  key: string | null
  /** Whether the caller has gone. Undefined once the entry is sent, because it is not asked after that. */
  isGone: (() => boolean) | undefined
  /** The time at which the caller has waited waitMsMax, on the clock of performance.now(). */
  deadlineMs: number
  state: EntryState
  resolve: (answer: Answer) => void
  reject: (reason: unknown) => void
}

/**
 * Frees the slot of a batch, so that the next batch can be sent. There are batchesMax slots. Only the first call for a batch
 * has an effect.
 *
 * @param contended whether other instances decided the same kind of item in the meantime. If so, the next batch lingers.
 */
export type FreeSlot = (contended?: boolean) => void

export type Batch<Item, Answer> = {
  entries: Entry<Item, Answer>[]
  /** On the clock of performance.now(). */
  sentAtMs: number
  freeSlot: FreeSlot
}

export type Queue<Item, Answer> = {
  /** The waiting entries, in order of arrival. */
  waiting: Entry<Item, Answer>[]
  /** For each key, the number of waiting entries. */
  waitingByKey: Map<string, number>
  /** The batches that occupy a slot, in the order in which they were sent. */
  inFlight: Set<Batch<Item, Answer>>
  /** How long the last two batches were in flight, the latest first. */
  lastBatchesMs: [number, number]
  /** Whether the next check of deadlines is scheduled. */
  checksDeadlines: boolean
}

export function openQueue<Item, Answer>(): Queue<Item, Answer> {
  return { waiting: [], waitingByKey: new Map(), inFlight: new Set(), lastBatchesMs: [0, 0], checksDeadlines: false }
}

/** Updates the count of a key when an entry starts (+1) or stops (-1) waiting. */
export function countKey<Item, Answer>(
  { waitingByKey }: Queue<Item, Answer>,
  { key }: Entry<Item, Answer>,
  change: 1 | -1,
): void {
  if (key === null) return
  const count = (waitingByKey.get(key) ?? 0) + change
  if (count === 0) waitingByKey.delete(key)
  else waitingByKey.set(key, count)
}

/** Whether the caller has its answer or an error already. */
export function isFinal<Item, Answer>({ state }: Entry<Item, Answer>): boolean {
  return state === 'answered' || state === 'refused'
}

/** Gives the caller an error, unless the entry is final. */
export function refuse<Item, Answer>(entry: Entry<Item, Answer>, reason: unknown): void {
  if (isFinal(entry)) return
  entry.state = 'refused'
  entry.reject(reason)
}
