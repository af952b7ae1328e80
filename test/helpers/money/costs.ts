import { parseDigits, type CostLine } from './cost-lines.ts'
import type { Answer, Service } from '../servers/service.ts'

export type Query = Record<string, string | number | boolean>

export function queryText(query: Query): string {
  return new URLSearchParams(query as Record<string, string>).toString()
}

export type Sums = Record<'cost_usd' | 'records' | 'input_tokens' | 'output_tokens' | 'seconds', string>
type CostGroup = Sums & { key: Record<string, string | null>; previous_cost_usd?: string }
export type Costs = {
  from: string
  to: string
  time_zone: string
  total: Sums & { previous_cost_usd?: string }
  groups: CostGroup[]
  next_cursor: string | null
}

/** Reads GET /v1/costs of a service, with each number as its text in the answer. */
export function costsReader(service: Service) {
  const get = (query: Query, headers: Record<string, string> = {}): Promise<Answer> =>
    service.call('GET', `/v1/costs?${queryText(query)}`, undefined, headers)

  async function costs(query: Query): Promise<Costs> {
    const { status, text } = await get(query)
    if (status !== 200) throw new Error(text)
    return parseDigits(text) as Costs
  }

  /** All pages of a grouping in one answer. */
  async function allCosts(query: Query): Promise<Costs> {
    const first = await costs(query)
    const groups = [...first.groups]
    for (let cursor = first.next_cursor; cursor !== null;) {
      const page = await costs({ ...query, cursor })
      groups.push(...page.groups)
      cursor = page.next_cursor
    }
    return { ...first, groups }
  }

  return { get, costs, allCosts }
}

/** Exact sums of decimals, computed in whole multiples of 1e-18. */
export const SCALE = 18
const scaled = (text: string) => {
  const [, sign, whole, fraction = ''] = /^(-?)([0-9]+)(?:\.([0-9]+))?$/.exec(text)!
  return BigInt(`${sign}${whole}${fraction.padEnd(SCALE, '0')}`)
}
export const unscaled = (value: bigint) => {
  const digits = String(value < 0n ? -value : value).padStart(SCALE + 1, '0')
  const text = `${digits.slice(0, -SCALE)}.${digits.slice(-SCALE)}`.replace(/\.?0+$/, '')
  return value < 0n ? `-${text}` : text
}
export const sumOf = (texts: (string | null | undefined)[]) =>
  unscaled(texts.reduce((sum, text) => sum + scaled(text ?? '0'), 0n))

export function sumsOf(lines: CostLine[]): Sums {
  return {
    cost_usd: sumOf(lines.map((line) => line.cost_usd)),
    records: String(lines.length),
    input_tokens: sumOf(lines.map((line) => line.input_tokens)),
    output_tokens: sumOf(lines.map((line) => line.output_tokens)),
    seconds: sumOf(lines.map((line) => line.seconds)),
  }
}
