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

/** Records read by one statement and held in memory at once. */
const PAGE_ROWS = 1_000

/** `actor` is written to the audit log with each correction. */
type RerateDeps = { db: Db; actor: Omit<Actor, 'reason'> }

export type RerateRequest = RerateFilter & {
  /** True: book the corrections. False: only report them. */
  apply: boolean
}

/** The totals of a run, so far or at its end. `difference_usd` is the sum over the reported records. */
export type RerateTotals = {
  looked: number
  changes: number
  corrected: number
  /** Corrected by another caller during the run. */
  overtaken: number
  unpriced: number
  undecided: number
  /** Records whose usage still cannot be read. */
  unreadable: number
  difference_usd: Usd
}

/**
 * Finds cost records whose cost would differ by the prices that are known now for the time they occurred.
 *
 * This includes records booked without a price, and records whose usage could not be read then and can be read now. With
 * `request.apply`, each is corrected in its own transaction, by its reversal and a successor with the new cost. If a run
 * fails, start it again: corrected records are not found again, so nothing is corrected twice.
 * @param report.line receives each record that changes, with what was booked for it.
 * @param report.progress receives the totals so far, after each page.
 * @throws Postgres errors unchanged; earlier corrections stay booked.
 */
export async function rerate(
  { db, actor }: RerateDeps,
  request: RerateRequest,
  report: { line(line: object): void; progress(totals: RerateTotals): void },
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
  // Records of an early release do not say when they were priced, so copy that from their reservations first.
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
          report.line(lineAnswer(line, newUsd, differenceUsd, booked?.successorId ?? null))
        }
      }
      totals.looked += page.looked
      totals.unpriced += page.unpriced + read.unpriced
      totals.undecided += page.undecided
      totals.unreadable += page.unreadable + read.unreadable
      report.progress(totals)
      after = page.last
    } while (after !== null)
  }
  return totals
}

/**
 * Reads kept usage objects again. Returns the records that are readable now, with their new cost and warnings, and counts
 * those without a price and those that are still unreadable.
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

/** Corrects a record by its own usage. `overtaken`: another caller has since corrected it or removed its price. */
async function bookCorrection(
  db: Db,
  clock: DatabaseClock,
  actor: RerateDeps['actor'],
  line: RatedLine,
): Promise<{ successorId: string; costUsd: string } | 'overtaken'> {
  const correction = {
    costRecordId: line.cost_record_id,
    tenantId: null,
    // Make the ids before sending: a retry after a lost connection is then the same correction.
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
