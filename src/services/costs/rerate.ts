import type { Actor } from '../../db/keys/audit.ts'
import { keepLineFacts } from '../../db/archives/archives.ts'
import { openClock, type DatabaseClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import { correctRecord } from '../../db/costs/correct-record.ts'
import {
  rateReadUsages,
  readRatedPage,
  readRerateStart,
  type RatedLine,
  type RerateFilter,
  type UnreadableLine,
} from '../../db/costs/rerate.ts'
import { sendAgain } from '../../db/pool/send-again.ts'
import { decimal, usdText, type Usd } from '../../domain/money.ts'
import { tryReadProviderUsage } from '../../domain/usage/index.ts'
import { timeText, usdJson } from '../answers.ts'
import { noteWarnings } from './usage-warnings.ts'

/** So many lines are looked at, and held in memory, at once. */
const PAGE_ROWS = 1_000

/** Who has it done: each correction stands in the audit log. */
type RerateDeps = { db: Db; actor: Omit<Actor, 'reason'> }

export type RerateRequest = RerateFilter & {
  /** Whether corrections are booked. */
  apply: boolean
}

/** What a run came to, so far or at its end. `difference_usd` is the sum over the lines it answered. */
export type RerateTotals = {
  looked: number
  changes: number
  corrected: number
  /** Corrected by somebody else while this ran. */
  overtaken: number
  unpriced: number
  undecided: number
  /** Their usage is still unreadable. */
  unreadable: number
  difference_usd: Usd
}

/**
 * Finds the lines of cost that would cost something else by the prices known now for their moment. Among them are lines that were
 * booked without a price, and lines whose usage could not be read then and can be read now. Where it is asked for, each is
 * corrected in a transaction of its own: its reversal and its real cost.
 *
 * A run that broke is begun again: a line that is corrected is not found again, so nothing is corrected twice.
 * @param tell.line receives each line that changes, with what was booked for it.
 * @param tell.progress receives the totals so far, after each page.
 * @throws errors of Postgres as they are; what was booked before stays booked.
 */
export async function rerate(
  { db, actor }: RerateDeps,
  request: RerateRequest,
  tell: { line(line: object): void; progress(totals: RerateTotals): void },
): Promise<RerateTotals> {
  const totals: RerateTotals = {
    looked: 0,
    changes: 0,
    corrected: 0,
    overtaken: 0,
    unpriced: 0,
    undecided: 0,
    unreadable: 0,
    difference_usd: decimal(0),
  }
  // Lines of an early release do not say when they were priced.
  while ((await keepLineFacts(db, PAGE_ROWS)) > 0);
  const recordedUntil = await readRerateStart(db)
  const clock = await openClock(db)
  for (const resourceType of ['llm', 'e2b'] as const) {
    let after: string | null = null
    do {
      const page = await readRatedPage(db, resourceType, request, { recordedUntil, after, rowsMax: PAGE_ROWS })
      const read = await readAgain(db, page.unread)
      for (const line of [...page.lines, ...read.lines]) {
        const booked = request.apply ? await bookCorrection(db, clock, actor, line) : null
        if (booked === 'overtaken') totals.overtaken += 1
        else {
          totals.changes += 1
          if (booked !== null) totals.corrected += 1
          const newUsd = decimal(booked?.costUsd ?? line.new_cost_usd)
          const differenceUsd = newUsd.minus(decimal(line.cost_usd))
          totals.difference_usd = totals.difference_usd.plus(differenceUsd)
          tell.line(lineAnswer(line, newUsd, differenceUsd, booked?.successorId ?? null))
        }
      }
      totals.looked += page.looked
      totals.unpriced += page.unpriced + read.unpriced
      totals.undecided += page.undecided
      totals.unreadable += page.unreadable + read.unreadable
      tell.progress(totals)
      after = page.last
    } while (after !== null)
  }
  return totals
}

/**
 * Reads kept usage objects again. Answers the lines that are readable now, with their new cost and warnings, and counts those
 * without a price and those that are still unreadable.
 */
async function readAgain(
  db: Db,
  unread: UnreadableLine[],
): Promise<{ lines: RatedLine[]; unpriced: number; unreadable: number }> {
  const read = unread.flatMap(({ provider_usage: providerUsage, ...line }) => {
    const reading = tryReadProviderUsage(providerUsage, { provider: line.provider ?? '', model: line.model ?? '' })
    return reading === null ? [] : [{ ...line, usage: reading.usage, warnings: noteWarnings(reading) }]
  })
  const rated = await rateReadUsages(db, read)
  const lines = read.flatMap((line, index) => {
    const { new_cost_usd, new_price_id } = rated[index]!
    return new_cost_usd === null || new_price_id === null ? [] : [{ ...line, new_cost_usd, new_price_id }]
  })
  return { lines, unpriced: read.length - lines.length, unreadable: unread.length - read.length }
}

/** Corrects a line by its own usage. Overtaken: somebody else has corrected it, or taken its price away, since. */
async function bookCorrection(
  db: Db,
  clock: DatabaseClock,
  actor: RerateDeps['actor'],
  line: RatedLine,
): Promise<{ successorId: string; costUsd: string } | 'overtaken'> {
  const correction = {
    costRecordId: line.cost_record_id,
    tenantId: null,
    // Made here, before it is sent: sent again after a lost connection, it is the same correction.
    reversalId: clock.newId(),
    successorId: clock.newId(),
    ...(line.usage === undefined
      ? { measure: 'seconds' as const, seconds: line.seconds! }
      : { measure: 'tokens' as const, usage: line.usage }),
    provider: null,
    model: null,
    reason: `${line.estimate_reason === 'usage_unreadable' ? 'its usage is readable now, ' : ''}re-rated by price ${line.new_price_id}`,
  }
  const outcome = await sendAgain(() => correctRecord(db, actor, correction))
  if (!('lines' in outcome)) return 'overtaken'
  const [, successor] = outcome.lines
  return { successorId: successor!.cost_record_id, costUsd: successor!.cost_usd }
}

function lineAnswer(line: RatedLine, newUsd: Usd, differenceUsd: Usd, successorId: string | null): object {
  const { usage: _usage, seconds: _seconds, new_cost_usd: _new, ...what } = line
  return {
    ...what,
    occurred_at: timeText(line.occurred_at),
    cost_usd: usdJson(line.cost_usd),
    new_cost_usd: usdJson(usdText(newUsd)),
    difference_usd: usdJson(usdText(differenceUsd)),
    successor_id: successorId,
  }
}
