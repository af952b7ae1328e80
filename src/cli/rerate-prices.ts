import { userInfo } from 'node:os'
import type { Db } from '../db/pool/connection.ts'
import { epochMicros, readInstant } from '../domain/instant.ts'
import { usdText } from '../domain/money.ts'
import { rerate, type RerateTotals } from '../services/costs/rerate.ts'

/** How often a long run reports its progress. */
const PROGRESS_MS = 2_000

export type RerateValues = { from?: string; to?: string; model?: string; apply?: boolean; json?: boolean }

type Range = { from: string; to: string }

/** Reads the time range of a run. @throws Error that says which argument is wrong. */
export function rerateRange({ from, to }: RerateValues): Range {
  if (from === undefined || to === undefined) throw new Error('rerate needs --from and --to')
  const range = { from: instantOf('--from', from), to: instantOf('--to', to) }
  if (epochMicros(range.from) >= epochMicros(range.to)) throw new Error('--from must be before --to')
  return range
}

function instantOf(name: string, text: string): string {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text.toUpperCase()
  try {
    return readInstant(at)
  } catch {
    throw new Error(`${name} must be a UTC day such as 2026-11-01 or a time such as 2026-11-01T06:00:00Z, not ${text}`)
  }
}

/**
 * Prints the records whose cost would differ as they are found, books corrections with --apply, and then prints the
 * totals.
 */
export async function rerateRecords(db: Db, values: RerateValues, range: Range): Promise<number> {
  const { apply = false, json = false, model = null } = values
  const print = json ? jsonPrinter() : textPrinter()
  let toldAt = performance.now()
  const totals = await rerate(
    { db, actor: { principal: `cli:${userInfo().username}`, ip: null } },
    { ...range, model, apply },
    {
      line: (line) => print.line(line),
      progress: (soFar) => {
        if (performance.now() - toldAt < PROGRESS_MS) return
        toldAt = performance.now()
        process.stderr.write(`${soFar.looked} records checked, ${soFar.changes} with another cost so far\n`)
      },
    },
  )
  print.end(totals, apply)
  return 0
}

type Printer = { line(line: object): void; end(totals: RerateTotals, apply: boolean): void }

/** Prints one JSON document piece by piece, so that it is never in memory as a whole. */
function jsonPrinter(): Printer {
  let lead = '{"data":[\n'
  const head = () => {
    const text = lead
    lead = ',\n'
    return text
  }
  return {
    line: (line) => process.stdout.write(`${head()}${JSON.stringify(line)}`),
    end: ({ difference_usd: differenceUsd, ...counts }, apply) => {
      const totals = { applied: apply, ...counts, difference_usd: JSON.rawJSON(usdText(differenceUsd)) }
      process.stdout.write(`${lead === ',\n' ? '' : head()}\n],"totals":${JSON.stringify(totals)}}\n`)
    },
  }
}

function textPrinter(): Printer {
  return {
    line: (line) => process.stdout.write(`${describeLine(JSON.parse(JSON.stringify(line), asWritten) as Line)}\n`),
    end: ({ difference_usd: differenceUsd, ...counts }, apply) => {
      const { looked, changes, corrected, overtaken, unpriced, undecided, unreadable } = counts
      const lines = [
        `${looked} records checked; ${changes} ${apply ? 'had another cost' : 'would have another cost'}, ${usdText(differenceUsd)} USD in total; ${corrected} corrected.`,
        ...(overtaken > 0 ? [`${overtaken} were corrected by somebody else in the meantime.`] : []),
        ...(unpriced > 0 ? [`${unpriced} still have no price.`] : []),
        ...(unreadable > 0 ? [`${unreadable} remain estimates: their usage is still unreadable.`] : []),
        ...(undecided > 0 ? [`${undecided} cannot be rated: their price was deleted with their reservation.`] : []),
        ...(!apply && changes > 0 ? ['Nothing was booked. Use --apply to book the corrections.'] : []),
      ]
      process.stdout.write(`${lines.join('\n')}\n`)
    },
  }
}

type Line = {
  cost_record_id: string
  tenant_id: string
  provider?: string
  model?: string
  tier?: string
  occurred_at: string
  cost_usd: string
  new_cost_usd: string
  warnings?: object[]
  estimate_reason: keyof typeof WHY | null
}

/** Why a record was an estimate until now. */
const WHY = { unpriced: ' (had no price)', usage_unreadable: ' (was not read)' }

/** Keeps amounts as they were written. */
function asWritten(_key: string, value: unknown, { source }: { source?: string }): unknown {
  return typeof value === 'number' ? source : value
}

function describeLine({ cost_record_id: id, tenant_id: tenantId, ...line }: Line): string {
  const what = line.model === undefined ? `sandbox ${line.tier}` : `${line.provider} ${line.model}`
  const why = line.estimate_reason === null ? '' : WHY[line.estimate_reason]
  const unread =
    line.warnings === undefined || line.warnings.length === 0 ? '' : `, ${line.warnings.length} warnings (--json)`
  return `${line.occurred_at} ${id} ${tenantId} ${what}: ${line.cost_usd} -> ${line.new_cost_usd}${why}${unread}`
}
