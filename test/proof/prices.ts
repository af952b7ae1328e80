/**
 * The published prices and names: what a name means and what usage costs. Computed from dates alone, in another way than in
 * Postgres. Times in ms; amounts, rates and seconds as decimals.
 */
import Big from 'big.js'

/** USD per million tokens. */
export type Rates = { input: string; output: string }
export type Tokens = { input_tokens: number; output_tokens: number }
export type Tier = { vcpu: number; usdPerVcpuSecond: string }
/** A rate card of a model or a tier, in force from a date on, with its aliases. */
export type NewCard = { from: number } & (
  | { model: string; rates: Rates; names: string[] }
  | { tier: string; size: Tier }
)

/** In force from its date until that of the next one; in the order of dates. */
type Dated<Value> = { from: number; value: Value }

export type PriceBook = {
  cards: Map<string, Dated<Rates>[]>
  /** The model that a name means; null: the model with that name. */
  meanings: Map<string, Dated<string | null>[]>
  tiers: Map<string, Dated<Tier>[]>
}

export const emptyBook = (): PriceBook => ({ cards: new Map(), meanings: new Map(), tiers: new Map() })

/** The amount of a hold: fixed USD, and USD for each unit on top. */
export type Estimate = { amount: Big; fixed: Big; unit: Big; free: boolean; pricedModel: string | null }

const roundUsd = (usd: Big) => usd.round(12, Big.roundHalfUp)

function listOf<Value>(lists: Map<string, Dated<Value>[]>, name: string): Dated<Value>[] {
  const list = lists.get(name) ?? []
  lists.set(name, list)
  return list
}

const inForce = <Value>(list: Dated<Value>[] | undefined, at: number) => list?.findLast(({ from }) => from <= at)

/** Inserts a value in the order of dates; returns what happened to another value of that date. */
function put<Value>(list: Dated<Value>[], from: number, value: Value): 'added' | 'unchanged' | 'superseded' {
  const there = list.find((one) => one.from === from)
  if (there === undefined) {
    list.push({ from, value })
    list.sort((a, b) => a.from - b.from)
    return 'added'
  }
  if (JSON.stringify(there.value) === JSON.stringify(value)) return 'unchanged'
  there.value = value
  return 'superseded'
}

/** Returns what happened to the card. */
export function publish(book: PriceBook, card: NewCard, now: number): 'added' | 'unchanged' | 'superseded' {
  if ('tier' in card) return put(listOf(book.tiers, card.tier), card.from, card.size)
  const { model, from } = card
  const cards = listOf(book.cards, model)
  const outcome = put(cards, from, card.rates)
  const others = book.meanings.get(model)
  if (others !== undefined) {
    // The model takes its own name from its first date on, but prices from before now stay as they were.
    const since = Math.max(cards[0]!.from, now)
    book.meanings.set(model, [...others.filter((one) => one.from < since), { from: since, value: null }])
  }
  for (const name of card.names) if (!book.cards.has(name)) giveName(book, name, model, from, now)
  return outcome
}

/** A new alias applies from its card's date; a moved alias not before now. */
function giveName(book: PriceBook, name: string, model: string, from: number, now: number): void {
  const meanings = listOf(book.meanings, name)
  const [first] = meanings
  if (first !== undefined && from < first.from && first.value === model) {
    first.from = from
    return
  }
  const at = first !== undefined && first.from <= now ? Math.max(from, now) : from
  if (inForce(meanings, at)?.value !== model) put(meanings, at, model)
}

/** The model that a name means at a moment. */
export function meantBy(book: PriceBook, name: string, at: number): string {
  return inForce(book.meanings.get(name), at)?.value ?? name
}

/** The cost of tokens by the card of a model at a moment; null without a card. */
export function costOfTokens(book: PriceBook, model: string, at: number, usage: Tokens): Big | null {
  const rates = inForce(book.cards.get(model), at)?.value
  if (rates === undefined) return null
  return roundUsd(
    perToken(rates.input).times(usage.input_tokens).plus(perToken(rates.output).times(usage.output_tokens)),
  )
}

const perToken = (usdPerMtok: string) => new Big(usdPerMtok).times('0.000001')

/** The parts of a run, each with one price; null if its start has no price. */
function partsOf(book: PriceBook, tier: string, at: number, seconds: string): { seconds: Big; usd: Big }[] | null {
  const sizes = book.tiers.get(tier) ?? []
  if (inForce(sizes, at) === undefined) return null
  const until = new Big(at).plus(new Big(seconds).times(1000))
  return sizes.flatMap(({ from, value }, n) => {
    const next = sizes[n + 1]
    const begins = new Big(Math.max(from, at))
    const ends = next !== undefined && until.gt(next.from) ? new Big(next.from) : until
    const ran = ends.minus(begins).div(1000)
    return ran.gt(0) ? [{ seconds: ran, usd: new Big(value.usdPerVcpuSecond).times(value.vcpu) }] : []
  })
}

/** The cost of a sandbox from a moment on, each second at its own price; null without a price. */
export function costOfSeconds(book: PriceBook, tier: string, at: number, seconds: string): Big | null {
  const parts = partsOf(book, tier, at, seconds)
  if (parts === null) return null
  return roundUsd(parts.reduce((sum, part) => sum.plus(part.usd.times(part.seconds)), new Big(0)))
}

/** The amount of a hold for a model call now; null without a price. */
export function estimateTokens(book: PriceBook, name: string, at: number, usage: Tokens): Estimate | null {
  const model = meantBy(book, name, at)
  const rates = inForce(book.cards.get(model), at)?.value
  if (rates === undefined) return null
  return {
    amount: costOfTokens(book, model, at, usage)!,
    fixed: perToken(rates.input).times(usage.input_tokens),
    unit: perToken(rates.output),
    free: new Big(rates.input).eq(0) && new Big(rates.output).eq(0),
    pricedModel: model,
  }
}

/** The amount of a hold for a sandbox now: the cost of its span, and for a smaller grant its most expensive second. */
export function estimateSeconds(book: PriceBook, tier: string, at: number, seconds: string): Estimate | null {
  const parts = partsOf(book, tier, at, seconds)
  if (parts === null) return null
  const unit = parts.reduce((most, { usd }) => (usd.gt(most) ? usd : most), new Big(0))
  const amount = costOfSeconds(book, tier, at, seconds)!
  return { amount, fixed: new Big(0), unit, free: unit.eq(0), pricedModel: null }
}
