import { decimal, type Usd } from '../src/domain/money.ts'
import type { Outcome } from './play.ts'
import type { ResourceType } from './step.ts'

export type Sums = {
  committed: number
  spentUsd: Usd
  held: number
  heldUsd: Usd
  refused: number
  refusedUsd: Usd
}

/** The totals of one model or sandbox tier of a tenant. */
type Row = Sums & { subject: string }

/** The totals of a tenant's resource type, and what its quota leaves. */
export type Account = Sums & {
  tenantId: string
  resourceType: ResourceType
  limitUsd: Usd
  remainingUsd: Usd
  rows: Row[]
}

/** Adds up the service's answers, exactly. */
export function tally(
  outcomes: readonly Outcome[],
  tenantId: string,
  resourceType: ResourceType,
  limit: string,
): Account {
  const rows = new Map<string, Row>()
  const total = noSums()
  const mine = outcomes.filter((outcome) => outcome.tenantId === tenantId && outcome.step.resourceType === resourceType)
  for (const outcome of mine) {
    const subject = outcome.end === 'committed' ? outcome.step.booked : outcome.step.asked
    const row = rows.get(subject) ?? { subject, ...noSums() }
    rows.set(subject, row)
    add(row, outcome)
    add(total, outcome)
  }
  const limitUsd = decimal(limit)
  const left = limitUsd.minus(total.spentUsd).minus(total.heldUsd)
  return {
    tenantId,
    resourceType,
    ...total,
    limitUsd,
    // A commit above its hold is always booked, so more than the limit may be spent.
    remainingUsd: left.lt(0) ? decimal(0) : left,
    rows: [...rows.values()].sort((a, b) => (a.subject < b.subject ? -1 : 1)),
  }
}

function noSums(): Sums {
  return { committed: 0, spentUsd: decimal(0), held: 0, heldUsd: decimal(0), refused: 0, refusedUsd: decimal(0) }
}

function add(sums: Sums, outcome: Outcome): void {
  switch (outcome.end) {
    case 'committed':
      sums.committed += 1
      sums.spentUsd = sums.spentUsd.plus(decimal(outcome.costUsd))
      break
    case 'left open':
      sums.held += 1
      sums.heldUsd = sums.heldUsd.plus(decimal(outcome.heldUsd))
      break
    case 'refused':
      sums.refused += 1
      sums.refusedUsd = sums.refusedUsd.plus(decimal(outcome.requestedUsd))
      break
    case 'released':
      break
  }
}
