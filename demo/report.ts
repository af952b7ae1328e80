import { usdText, type Usd } from '../src/domain/money.ts'
import type { Outcome } from './play.ts'
import type { Account, Sums } from './tally.ts'

export type Report = {
  seed: number
  outcomes: Outcome[]
  accounts: Account[]
  /** What was compared, and how many records. */
  checked: { source: string; records: number; quotas: number }[]
  differences: string[]
}

/** The counts of what was played. */
function countsOf(outcomes: readonly Outcome[]) {
  const committed = outcomes.filter(({ end }) => end === 'committed')
  const usageObjects: Record<string, number> = {}
  for (const { step } of committed) {
    if (step.form !== undefined) usageObjects[step.form] = (usageObjects[step.form] ?? 0) + 1
  }
  const count = (test: (outcome: Outcome) => boolean) => outcomes.filter(test).length
  return {
    reservations: outcomes.length,
    committed: committed.length,
    released: count(({ end }) => end === 'released'),
    left_open: count(({ end }) => end === 'left open'),
    refused: count(({ end }) => end === 'refused'),
    usage_objects: committed.filter(({ step }) => step.form !== undefined).length,
    usage_objects_by_form: usageObjects,
    sandbox_runs: committed.filter(({ step }) => step.resourceType === 'e2b').length,
    by_another_model: committed.filter(({ step }) => step.kind === 'another model').length,
    by_own_estimate: committed.filter(({ step }) => step.kind.startsWith('own estimate')).length,
    above_the_hold: count((outcome) => outcome.end === 'committed' && outcome.overrun),
  }
}

/** The result as JSON. Amounts are exact JSON numbers. */
export function reportJson({ seed, outcomes, accounts, checked, differences }: Report): string {
  const sums = (of: Sums) => ({
    committed: of.committed,
    spent_usd: exact(of.spentUsd),
    held: of.held,
    held_usd: exact(of.heldUsd),
    refused: of.refused,
    refused_usd: exact(of.refusedUsd),
  })
  const body = {
    seed,
    ...countsOf(outcomes),
    accounts: accounts.map((account) => ({
      tenant_id: account.tenantId,
      resource_type: account.resourceType,
      limit_usd: exact(account.limitUsd),
      ...sums(account),
      remaining_usd: exact(account.remainingUsd),
      rows: account.rows.map((row) => ({ name: row.subject, ...sums(row) })),
    })),
    checked,
    agrees: differences.length === 0,
    differences,
  }
  return `${JSON.stringify(body, null, 2)}\n`
}

function exact(amount: Usd): RawJson {
  return JSON.rawJSON(usdText(amount))
}

/** The result as text. */
export function reportText({ seed, outcomes, accounts, checked, differences }: Report): string {
  const counts = countsOf(outcomes)
  const forms = Object.entries(counts.usage_objects_by_form).map(([form, count]) => `${count} ${form}`)
  const refusal = outcomes.find((outcome) => outcome.end === 'refused')
  return [
    ...tableLines(accounts),
    '',
    `Seed ${seed}: ${counts.reservations} reservations: ${counts.committed} committed (${counts.above_the_hold} above the hold), ${counts.released} released, ${counts.left_open} left open, ${counts.refused} refused`,
    `${counts.usage_objects} usage objects: ${forms.join(', ')}; ${counts.sandbox_runs} sandbox runs`,
    `${counts.by_another_model} answered by another model than reserved, ${counts.by_own_estimate} held by an estimate of the caller's own`,
    ...(refusal === undefined ? [] : [`The first refusal: ${refusal.detail}`]),
    '',
    ...(differences.length === 0
      ? checked.map(
          ({ source, records, quotas }) =>
            `Agrees to the last decimal with ${source}: ${records} cost records, ${quotas} quotas`,
        )
      : ['DIFFERS:', ...differences.map((difference) => `  ${difference}`)]),
    '',
  ].join('\n')
}

const HEADINGS = ['', 'committed', 'spent USD', 'held', 'held USD', 'refused', 'refused USD', 'remaining USD']

function tableLines(accounts: readonly Account[]): string[] {
  const cells: string[][] = []
  for (const account of accounts) {
    const what = account.resourceType === 'llm' ? 'models' : 'sandboxes'
    const name = `${account.tenantId}, ${what}, limit ${usdText(account.limitUsd)} USD`
    cells.push([name, ...sumCells(account), usdText(account.remainingUsd)])
    for (const row of account.rows) cells.push([`  ${row.subject}`, ...sumCells(row), ''])
  }
  const columns = HEADINGS.map((_, column) => alignPoints(cells.map((row) => row[column]!)))
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...columns[column]!.map((cell) => cell.length)),
  )
  const line = (row: string[]) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  const body = cells.map((_, index) => line(columns.map((column) => column[index]!)))
  return [line(HEADINGS), ...body.flatMap((text) => (text.startsWith(' ') ? [text] : ['', text]))]
}

function sumCells(of: Sums): string[] {
  const whereAny = (count: number, amount: Usd) =>
    [count, usdText(amount)].map((cell) => (count === 0 ? '' : `${cell}`))
  return [
    ...whereAny(of.committed, of.spentUsd),
    ...whereAny(of.held, of.heldUsd),
    ...whereAny(of.refused, of.refusedUsd),
  ]
}

/** Pads amounts on the right, so that their decimal points align. */
function alignPoints(cells: string[]): string[] {
  const amounts = cells.filter((cell) => /^[0-9.]+$/.test(cell))
  const tailOf = (cell: string) => (cell.includes('.') ? cell.length - cell.indexOf('.') : 0)
  const longest = Math.max(0, ...amounts.map(tailOf))
  return cells.map((cell) => (/^[0-9.]+$/.test(cell) ? cell + ' '.repeat(longest - tailOf(cell)) : cell))
}
