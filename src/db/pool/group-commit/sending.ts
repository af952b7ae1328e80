import type { GroupCommitOptions } from '../group-commit.ts'
import { isConnectionFault, isItemFault, isLockTimeout, isRetryable, databaseProblem, unanswered } from '../faults.ts'
import { refuse, type Entry, type FreeSlot } from './queue.ts'

/** What sending needs of the options. */
type Sending<Item, Answer> = Pick<
  GroupCommitOptions<Item, Answer>,
  'run' | 'lockOf' | 'isContended' | 'onLate' | 'onLost'
>

type Attempt = {
  /** How often the batch may still be sent, this time included. */
  triesLeft: number
  /** Whether the connection broke at an earlier try: then Postgres may have decided the batch already. */
  answerLost: boolean
}

const FIRST_ATTEMPT: Attempt = { triesLeft: 2, answerLost: false }

/**
 * How many parts of a batch that met a lock are sent at once, so that a part that waits for the lock doesn't hold up the
 * others.
 */
const PARTS_MAX = 3

/** Runs a batch and answers its entries. What has been refused meanwhile is left out, or its answer goes to onLate. */
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
  // Before the callers are answered: Postgres decides the next batch meanwhile.
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

/** Sends entries whose batch failed again, whole or in parts. Refuses them where that cannot help. */
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
    // Every worker takes parts until none is left. The slot is freed when all of them are done.
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

/** For a part of a batch: the slot is freed by the last part, or once all of them are done. */
const keepSlot: FreeSlot = () => {}

/** Entries that may wait for the same lock stay together. */
function partsByLock<Item, Answer>(
  { lockOf }: Sending<Item, Answer>,
  entries: Entry<Item, Answer>[],
): Entry<Item, Answer>[][] {
  return lockOf === undefined
    ? entries.map((entry) => [entry])
    : [...Map.groupBy(entries, ({ item }) => lockOf(item)).values()]
}
