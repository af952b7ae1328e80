import { decimal, usdText, type Usd } from '../src/domain/money.ts'
import type { BookedCost, Books } from './books.ts'
import type { Outcome } from './play.ts'
import type { Account } from './tally.ts'

/** Lists every difference between the books and the service's answers during the run; empty if they agree. */
export function compare(outcomes: readonly Outcome[], accounts: readonly Account[], books: Books): string[] {
  return [
    ...compareRecords(outcomes, books),
    ...accounts.flatMap((account) => compareAccount(account, books)),
    ...books.broken,
  ]
}

/** Checks that each commit has one record with its cost, tenant and model, and that each record has a commit. */
function compareRecords(outcomes: readonly Outcome[], { records }: Books): string[] {
  const found = new Map(records.map((record) => [record.costRecordId, record]))
  const differences = found.size === records.length ? [] : ['a cost record is listed twice']
  for (const outcome of outcomes) {
    if (outcome.end !== 'committed') continue
    const record = found.get(outcome.costRecordId)
    found.delete(outcome.costRecordId)
    const answered = `${outcome.costUsd} USD for ${outcome.tenantId}, ${outcome.step.booked}`
    const booked = record === undefined ? 'nothing' : bookedText(record)
    if (booked !== answered) {
      differences.push(`cost record ${outcome.costRecordId}: ${booked} is booked; ${answered} was answered`)
    }
  }
  for (const record of found.values()) {
    differences.push(`cost record ${record.costRecordId}: ${bookedText(record)} is booked; nothing was committed`)
  }
  return differences
}

function bookedText({ costUsd, tenantId, subject }: BookedCost): string {
  return `${usdText(decimal(costUsd))} USD for ${tenantId}, ${subject}`
}

/** Compares the table's sums, by row and in total, with the records and the quota. */
function compareAccount(account: Account, { records, balances }: Books): string[] {
  const { tenantId, resourceType, rows } = account
  const mine = records.filter((record) => record.tenantId === tenantId && record.resourceType === resourceType)
  const differences: string[] = []
  function expect(what: string, table: Usd, booked: Usd): void {
    if (table.eq(booked)) return
    differences.push(`${tenantId}, ${what}: the table says ${usdText(table)} USD, the books ${usdText(booked)}`)
  }
  for (const { subject, spentUsd } of rows) {
    expect(`records of ${subject}`, spentUsd, sumOf(mine.filter((record) => record.subject === subject)))
  }
  expect(`records of all ${resourceType}`, account.spentUsd, sumOf(mine))

  const balance = balances.find((one) => one.tenantId === tenantId && one.resourceType === resourceType)
  if (balance === undefined) return [...differences, `${tenantId}: the books have no ${resourceType} quota in total`]
  expect(`spent in the ${resourceType} quota`, account.spentUsd, decimal(balance.spentUsd))
  expect(`held in the ${resourceType} quota`, account.heldUsd, decimal(balance.heldUsd))
  if (balance.remainingUsd !== null) {
    expect(`left of the ${resourceType} quota`, account.remainingUsd, decimal(balance.remainingUsd))
  }
  return differences
}

function sumOf(records: readonly BookedCost[]): Usd {
  return records.reduce((sum, { costUsd }) => sum.plus(decimal(costUsd)), decimal(0))
}
