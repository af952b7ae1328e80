import type { GroupCommitOptions } from '../group-commit.ts'
import { isConnectionFault, isItemFault, isLockTimeout, isRetryable, databaseProblem, unanswered } from '../faults.ts'
import { refuse, type Entry, type FreeSlot } from './queue.ts'

/** The options that sending needs. */
type Sending<Item, Answer> = Pick<
  GroupCommitOptions<Item, Answer>,
  'run' | 'lockOf' | 'isContended' | 'onLate' | 'onLost'
>

type Attempt = {
  /** How many more times the batch may be sent, this time included. */
  triesLeft: number
  /** Whether the connection broke at an earlier try. If so, Postgres may have decided the batch already. */
  answerLost: boolean
}

const FIRST_ATTEMPT: Attempt = { triesLeft: 2, answerLost: false }

/**
 * How many parts are sent at once, after a batch did not get a lock in time. One part may wait for the lock again, and this
 * must not delay the other parts.
 */
const PARTS_MAX = 3

/**
 * Runs a batch and answers its entries. Leaves out entries that have been refused. If an entry is refused while the batch
 * runs, its answer goes to onLate.
 */
export async function runBatch<Item, Answer>(
  options: Sending<Item, Answer>,
  batch: Entry<Item, Answer>[],
  freeSlot: FreeSlot,
  attempt: Attempt = FIRST_ATTEMPT,
): Promise<void> {
  const { run, isContended, onLate, onLost } = options
  const entries = batch.filter(({ state }) => state === 'sent')
  if (attempt.answerLost) for (const { item, state } of batch) if (state === 'refused') onLost?.(item)
  if (entries.length === 0) return
  let answers: Answer[]
  try {
    answers = await run(entries.map(({ item }) => item))
  } catch (error) {
    const answerLost = attempt.answerLost || isConnectionFault(error)
    return resendOrFail(options, entries, freeSlot, { ...attempt, answerLost }, error)
  }
  // Free the slot before answering the callers, so that Postgres decides the next batch in the meantime.
  freeSlot(isContended?.(answers[0]!) === true)
  for (const [index, entry] of entries.entries()) {
    const answer = answers[index] as Answer
    if (entry.state === 'refused') onLate?.(entry.item, answer)
    else {
      entry.state = 'answered'
      entry.resolve(answer)
    }
  }
}

/** After a batch has failed: sends its entries again, together or in parts. Refuses them if that cannot help. */
async function resendOrFail<Item, Answer>(
  options: Sending<Item, Answer>,
  entries: Entry<Item, Answer>[],
  freeSlot: FreeSlot,
  attempt: Attempt,
  error: unknown,
): Promise<void> {
  const { triesLeft, answerLost } = attempt
  if (triesLeft > 1 && (isRetryable(error) || isConnectionFault(error))) {
    return runBatch(options, entries, freeSlot, { ...attempt, triesLeft: triesLeft - 1 })
  }
  const parts = isLockTimeout(error) ? partsByLock(options, entries) : []
  if (parts.length > 1) {
    // Each worker sends one part after the other until none is left. The slot is freed when all parts are done.
    const worker = async () => {
      for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
        await runBatch(options, part, keepSlot, attempt)
      }
    }
    await Promise.all(Array.from({ length: PARTS_MAX }, worker))
    return
  }
  if (entries.length > 1 && isItemFault(error)) {
    const middle = entries.length >> 1
    const half: Attempt = { ...attempt, triesLeft: FIRST_ATTEMPT.triesLeft }
    await runBatch(options, entries.slice(0, middle), keepSlot, half)
    return runBatch(options, entries.slice(middle), freeSlot, half)
  }
  const problem = answerLost ? unanswered('The database did not answer', error) : databaseProblem(error)
  for (const entry of entries) {
    refuse(entry, problem)
    if (answerLost) options.onLost?.(entry.item)
  }
}

/** Given to a part of a batch, which must not free the slot. The slot is freed once, when the last part is done. */
const keepSlot: FreeSlot = () => {}

/** Divides entries into parts. Entries that may wait for the same lock are in the same part. */
function partsByLock<Item, Answer>(
  { lockOf }: Sending<Item, Answer>,
  entries: Entry<Item, Answer>[],
): Entry<Item, Answer>[][] {
  return lockOf === undefined
    ? entries.map((entry) => [entry])
    : [...Map.groupBy(entries, ({ item }) => lockOf(item)).values()]
}
