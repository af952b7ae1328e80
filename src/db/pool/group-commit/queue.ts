/** Where an entry stands. The table at the top of ../group-commit.ts says which transitions exist. */
export type EntryState =
  /** In the queue, in no batch yet. */
  | 'waiting'
  /** In a batch that Postgres was given, perhaps more than once. */
  | 'sent'
  /** Final: the caller has its answer. */
  | 'answered'
  /** Final: the caller has an error. If the entry was sent before, Postgres may still decide it: see onLate and onLost. */
  | 'refused'

/** One item on its way through the queue, with the caller that waits for its answer. */
export type Entry<Item, Answer> = {
  item: Item
  key: string | null
  /** Whether the caller has gone. Asked only until the entry is sent. */
  isGone: (() => boolean) | undefined
  /** When the caller has waited waitMsMax, by performance.now(). */
  deadlineMs: number
  state: EntryState
  resolve: (answer: Answer) => void
  reject: (reason: unknown) => void
}

/**
 * Says that a batch no longer occupies its slot (there are batchesMax), so that the next batch can go. Only the first call
 * counts.
 *
 * @param contended whether other instances decided the same kind of item meanwhile: then the next batch lingers.
 */
export type FreeSlot = (contended?: boolean) => void

export type Batch<Item, Answer> = {
  entries: Entry<Item, Answer>[]
  /** By performance.now(). */
  sentAtMs: number
  freeSlot: FreeSlot
}

export type Queue<Item, Answer> = {
  /** The waiting entries, in order of arrival. */
  waiting: Entry<Item, Answer>[]
  /** How many of the waiting entries have each key. */
  waitingByKey: Map<string, number>
  /** The batches that occupy a slot, in the order in which they were sent. */
  inFlight: Set<Batch<Item, Answer>>
  /** How long the last batch and the one before it were in flight. */
  lastBatchesMs: [number, number]
  /** Whether the next check of deadlines is scheduled. */
  checksDeadlines: boolean
}

export function openQueue<Item, Answer>(): Queue<Item, Answer> {
  return { waiting: [], waitingByKey: new Map(), inFlight: new Set(), lastBatchesMs: [0, 0], checksDeadlines: false }
}

/** Counts an entry that joins (+1) or leaves (-1) the waiting ones. */
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
