import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { pointerStep } from '../../src/domain/json-pointer.ts'
import { costOfUsage } from '../../src/domain/price.ts'
import { readProviderUsage, UsageError, type UsageSource } from '../../src/domain/usage/index.ts'
import { usageWarnings } from '../../src/services/costs/usage-warnings.ts'
import { readSeed } from '../helpers/random.ts'
import { distinctCard, NO_QUANTITY, SAMPLES } from './usage-samples.ts'

type Path = (string | number)[]

/** The result of an object: its cost and warnings, or `unreadable`, which callers also see. */
function outcomeOf(raw: unknown, source: UsageSource): { costUsd: string; warned: string } | 'unreadable' {
  try {
    const reading = readProviderUsage(raw, source)
    const { costUsd } = costOfUsage(distinctCard, reading.usage)
    const warnings = usageWarnings(reading, { price: distinctCard, costUsd, asked: {} })
    return { costUsd: costUsd.toFixed(), warned: warnings.map(({ code, pointer }) => `${code} ${pointer}`).join() }
  } catch (error) {
    if (error instanceof UsageError) return 'unreadable'
    throw error
  }
}

function numbersIn(value: unknown, path: Path = []): Path[] {
  if (typeof value === 'number') return [path]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, part]) =>
    numbersIn(part, [...path, Array.isArray(value) ? Number(name) : name]),
  )
}

function objectsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.entries(value).flatMap(([name, part]) =>
    objectsIn(part, [...path, Array.isArray(value) ? Number(name) : name]),
  )
  return Array.isArray(value) ? inner : [path, ...inner]
}

function changed(raw: object, path: Path, value: unknown): Record<string, unknown> {
  const copy = structuredClone(raw) as Record<string, unknown>
  let at: Record<string | number, unknown> = copy
  for (const step of path.slice(0, -1)) at = at[step] as Record<string, unknown>
  at[path.at(-1)!] = value
  return copy
}

const pointerOf = (path: Path) => path.map((step) => `/${pointerStep(String(step))}`).join('')

/** The path of the usage object in its body. Fields outside it do not belong to it. */
function usageIn(raw: Record<string, unknown>): Path {
  const known: Path[] = [
    ['totalUsage'],
    ['modelUsage', 'claude-opus-5-5'],
    ['usage'],
    ['usageMetadata'],
    ['usage_metadata'],
    ['info', 'last_token_usage'],
    ['choices', '0', 'usage'],
    ['result', 'message', 'usage'],
    ['response', 'body', 'usage'],
  ]
  return (
    known.find(
      (path) =>
        path.reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], raw) !== undefined,
    ) ?? []
  )
}

/** Parts with the same rate as their whole: a change within the whole does not change the cost. */
const PARTS =
  /accepted_prediction_tokens|rejected_prediction_tokens|ttl_30m_tokens|Ephemeral5m|details\/priority$|cached_tokens_details\/text_tokens|TokensDetails\/0\/tokenCount$|by_modality\/0\/tokens$/

/** The cost that the provider reports, which may differ slightly. */
const MONEY = /\/(cost|costUSD|total_cost|cost_in_usd_ticks)$/

const seed = readSeed()
t.comment(`seed ${seed}; PURSER_TEST_SEED repeats it`)

for (const { form, source, raw, repeats } of SAMPLES) {
  const before = outcomeOf(raw, source)
  const isMoved = (path: Path, value: number) =>
    !isDeepStrictEqual(outcomeOf(changed(raw, path, value), source), before)
  const quantities = numbersIn(raw).filter((path) => !NO_QUANTITY.test(pointerOf(path)))
  const isBounded = (path: Path) => PARTS.test(pointerOf(path)) || MONEY.test(pointerOf(path))

  t.test(`${form}: a changed quantity changes the cost or causes a warning`, async (t) => {
    const free = quantities.filter((path) => !isBounded(path) && repeats?.test(pointerOf(path)) !== true)
    const moves = fc.property(
      fc.constantFrom(...free),
      fc.option(fc.integer({ min: 1, max: 1_000_000 })),
      (path, more) => {
        const old = path.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], raw) as number
        const value = more === null ? Math.floor(old / 2) : old + more
        return value === old || isMoved(path, value)
      },
    )
    t.doesNotThrow(() => fc.assert(moves, { numRuns: 100, seed }))
  })

  t.test(`${form}: a part larger than its whole, or another cost, causes a warning`, async (t) => {
    for (const path of quantities.filter(isBounded)) t.ok(isMoved(path, 10_000_000), pointerOf(path))
  })

  t.test(`${form}: an unknown number always causes a warning`, async (t) => {
    const at = usageIn(raw)
    const usage = at.reduce<unknown>((inner, step) => (inner as Record<string, unknown>)[step], raw)
    const steps = Array.isArray(raw['steps']) ? raw['steps'].map((_, index): Path => ['steps', index, 'usage']) : []
    const places = [...objectsIn(usage, at), ...steps]
    const values = fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant('17'))
    const names = fc.stringMatching(/^[a-z]{3,12}_runs$/)
    const isSaid = fc.property(fc.constantFrom(...places), names, values, (place, name, value) => {
      const path = [...place, name]
      const outcome = outcomeOf(changed(raw, path, value), source)
      return outcome === 'unreadable' || outcome.warned.includes(`usage_unread ${pointerOf(path)}`)
    })
    t.doesNotThrow(() => fc.assert(isSaid, { numRuns: 50, seed }))
  })
}
