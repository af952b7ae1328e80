import { decimal, isZero, usdText } from '../domain/money.ts'
import type { PriceVersion } from './package.ts'
import type { SecondPrice } from './second-source.ts'

/** A version in the database: in force, past or scheduled. */
export type CurrentVersion = Omit<PriceVersion, 'aliases'> & { expires_at: string | null }
/** An alias of a model, and whether an administrator set it. */
export type CurrentAlias = { provider: string; alias: string; model: string; by_admin: boolean }
export type CurrentPrices = { versions: CurrentVersion[]; aliases: CurrentAlias[] }

/** A rate before and after the change; null if there is none. */
export type RateChange = { bucket: string; from_usd: string | null; to_usd: string | null }
export type Addition = {
  provider: string
  model: string
  effective_date: string
  source: string
  changes: RateChange[]
}
export type Disagreement = {
  provider: string
  model: string
  bucket: string
  package_usd: string | null
  second_usd: string
}
export type HeldBack = { provider: string; model: string; effective_date: string; reason: string }

export type Plan = {
  /** What publish_model_prices() gets: the additions, and existing versions that only bring new aliases. */
  publish: PriceVersion[]
  added: Addition[]
  unchanged: number
  /** The number of aliases that are new or change their meaning. */
  aliases: number
  disagreements: Disagreement[]
  held_back: HeldBack[]
}

/** A rate that rises or falls by more than this factor waits for an administrator. */
const CHANGE_FACTOR_MAX = 10
/** A bound in USD per million tokens that no real price comes near; the highest are below a thousand. */
const RATE_USD_MAX = 10_000
const RATE = /^[0-9]{1,9}(\.[0-9]{1,20})?$/
const NAME_LENGTH_MAX = 200

/**
 * Works out what to publish so that the database has the wanted prices, without changing what was priced before.
 *
 * A dated price counts from its date. A price without a date counts from now on. The overlay was reviewed by people,
 * so its changes are not questioned. Nothing is ever removed. Three things are not published but listed: a figure
 * that the second source contradicts (for the model or for the one it copies), an implausible change, and a price
 * where an administrator's price is in force.
 *
 * @param wanted versions by model and date, copies after what they copy, as layOver() returns them.
 * @param at the database's time.
 */
export function planChanges(
  wanted: readonly PriceVersion[],
  current: CurrentPrices,
  second: readonly SecondPrice[],
  at: Date,
): Plan {
  const plan: Plan = { publish: [], added: [], unchanged: 0, aliases: 0, disagreements: [], held_back: [] }
  const known = Map.groupBy(current.versions, modelName)
  const meant = aliasesOf(wanted, current.aliases)
  const models = new Set([...wanted, ...current.versions].map(modelName))
  const seconds = Map.groupBy(second, (price) => meantModel(modelName(price), models, meant))
  const disputed = new Set<string>()
  for (const [name, cards] of Map.groupBy(wanted, modelName)) {
    const isDisputed = planModel(plan, cards, known.get(name) ?? [], seconds.get(name) ?? [], disputed, at)
    if (isDisputed) disputed.add(name)
  }
  planAliases(plan, wanted, current)
  return plan
}

/** Plans all versions of a model. Returns whether the second source contradicts them. */
function planModel(
  plan: Plan,
  cards: PriceVersion[],
  known: CurrentVersion[],
  seconds: SecondPrice[],
  disputed: ReadonlySet<string>,
  at: Date,
): boolean {
  const running = cards.findLast((card) => new Date(card.effective_date) <= at)
  const decided = isByAdmin(inForceAt(known, at))
  const contradictions = running === undefined || decided ? [] : seconds.flatMap((second) => compare(running, second))
  plan.disagreements.push(...contradictions)
  for (const { aliases: _aliases, copy_of: copied, ...card } of cards) {
    const isRunning = card.effective_date === running?.effective_date
    const holdBack = (reason: string) => {
      const { provider, model, effective_date } = card
      plan.held_back.push({ provider, model, effective_date, reason })
    }
    const unsound = unsoundness(card)
    if (unsound !== null) {
      holdBack(unsound)
      continue
    }
    const sameDate = known.find((version) => isSameTime(version.effective_date, card.effective_date))
    const reviewed = card.source.startsWith('overlay ')
    // The package overwrites a price without giving a date. What was priced until now had the old one, so the new one
    // counts from now on.
    const rewritten = sameDate !== undefined && !reviewed && new Date(card.effective_date) <= at
    if (sameDate !== undefined && (isSame(sameDate, card) || (rewritten && !isRunning))) {
      plan.unchanged += 1
      continue
    }
    const effectiveDate = rewritten ? at.toISOString() : card.effective_date
    const before = inForceAt(known, new Date(effectiveDate))
    if (before !== undefined && isSame(before, card)) {
      plan.unchanged += 1
      continue
    }
    if (isByAdmin(before)) {
      holdBack("an administrator's price is in force then")
      continue
    }
    const changes = changesOf(before, card)
    const absurd = reviewed ? null : absurdity(changes)
    if (absurd !== null) {
      holdBack(absurd)
      continue
    }
    if (isRunning && contradictions.length > 0) continue
    if (isRunning && copied !== undefined && disputed.has(modelName(copied))) {
      holdBack(`is a copy of ${modelName(copied)}, on which the sources disagree`)
      continue
    }
    const { provider, model, source } = card
    plan.publish.push({ ...card, effective_date: effectiveDate })
    plan.added.push({ provider, model, effective_date: effectiveDate, source, changes })
  }
  return contradictions.length > 0
}

/**
 * Plans the aliases. They are published with the first version of their model, existing or new: from that version's
 * date on the name has a meaning.
 */
function planAliases(plan: Plan, wanted: readonly PriceVersion[], current: CurrentPrices): void {
  const key = (provider: string, name: string) => `${provider} ${name}`
  const meant = new Map(current.aliases.map((alias) => [key(alias.provider, alias.alias), alias]))
  const models = new Set([...current.versions, ...plan.publish].map(modelName))
  const published = Map.groupBy(plan.publish.keys(), (index) => modelName(plan.publish[index]!))
  const there = new Map(current.versions.map((version) => [modelName(version), version] as const).toReversed())
  for (const { provider, model, source, aliases = [] } of wanted) {
    const fresh = aliases.filter((alias) => {
      const now = meant.get(key(provider, alias))
      return (
        alias.length <= NAME_LENGTH_MAX && !models.has(key(provider, alias)) && now?.model !== model && !now?.by_admin
      )
    })
    const indexes = published.get(key(provider, model)) ?? []
    const first = there.get(key(provider, model)) ?? plan.publish[indexes[0]!]
    if (fresh.length === 0 || first === undefined) continue
    plan.aliases += fresh.length
    const index = indexes.find((one) => isSameTime(plan.publish[one]!.effective_date, first.effective_date))
    if (index === undefined) plan.publish.push({ ...first, source, aliases: fresh })
    else plan.publish[index] = { ...plan.publish[index]!, aliases: fresh }
  }
}

/**
 * The model of each alias, by provider and name. Wanted aliases win over current ones, except over an
 * administrator's.
 */
function aliasesOf(wanted: readonly PriceVersion[], current: readonly CurrentAlias[]): Map<string, string> {
  const aliasEntry = ({ provider, alias, model }: Omit<CurrentAlias, 'by_admin'>): [string, string] => [
    modelName({ provider, model: alias }),
    modelName({ provider, model }),
  ]
  return new Map([
    ...current.map(aliasEntry),
    ...wanted.flatMap(({ provider, model, aliases = [] }) =>
      aliases.map((alias) => aliasEntry({ provider, alias, model })),
    ),
    ...current.filter(({ by_admin }) => by_admin).map(aliasEntry),
  ])
}

/** The model that a name means: the model of that name if it has a card, else the alias's model. */
function meantModel(name: string, models: ReadonlySet<string>, aliases: ReadonlyMap<string, string>): string {
  return models.has(name) ? name : (aliases.get(name) ?? name)
}

/** Compares the prices in force with a second source: the figures that differ, and the models without a price. */
export function compareAll(
  current: CurrentPrices,
  second: readonly SecondPrice[],
  at: Date,
): { compared: number; disagreements: Disagreement[]; missing: { provider: string; model: string }[] } {
  const known = Map.groupBy(current.versions, modelName)
  const models = new Set(known.keys())
  const aliases = aliasesOf([], current.aliases)
  const providers = new Set(current.versions.map(({ provider }) => provider))
  const disagreements: Disagreement[] = []
  const missing: { provider: string; model: string }[] = []
  let compared = 0
  for (const price of second.filter(({ provider }) => providers.has(provider))) {
    const card = inForceAt(known.get(meantModel(modelName(price), models, aliases)) ?? [], at)
    if (card === undefined) missing.push({ provider: price.provider, model: price.model })
    else {
      compared += 1
      disagreements.push(...compare(card, price))
    }
  }
  return { compared, disagreements, missing }
}

/** Where a card and a second source name different figures, in the buckets that the second one names. */
function compare(card: Omit<PriceVersion, 'aliases'>, second: SecondPrice): Disagreement[] {
  const { provider, model } = second
  const secondFigures = figuresOf({ ...second, usd_per_unit: {}, modifiers: {} })
  const ownFigures = figuresOf(card)
  return [...secondFigures].flatMap(([bucket, secondUsd]) => {
    const ownUsd = ownFigures.get(bucket) ?? null
    return ownUsd === secondUsd ? [] : [{ provider, model, bucket, package_usd: ownUsd, second_usd: secondUsd }]
  })
}

function inForceAt<Version extends { effective_date: string; expires_at: string | null }>(
  versions: readonly Version[],
  at: Date,
): Version | undefined {
  return versions.find(
    ({ effective_date: from, expires_at: until }) => new Date(from) <= at && (until === null || at < new Date(until)),
  )
}

type Figures = Pick<PriceVersion, 'usd_per_mtok' | 'usd_per_unit' | 'long_context' | 'modifiers'>

/** Every figure of a card by name, in one notation, so that equal figures are equal text. */
function figuresOf({ usd_per_mtok, usd_per_unit, long_context: long, modifiers }: Figures): Map<string, string> {
  const figures = new Map<string, string>()
  const add = (prefix: string, amounts: Partial<Record<string, string>>) => {
    for (const [name, amount] of Object.entries(amounts))
      if (amount !== undefined) figures.set(prefix + name, RATE.test(amount) ? usdText(decimal(amount)) : amount)
  }
  add('', usd_per_mtok)
  add('', usd_per_unit)
  add('modifier ', modifiers)
  if (long !== null) {
    figures.set('long_context.input_tokens_over', String(long.input_tokens_over))
    add('long_context.', long.usd_per_mtok)
  }
  return figures
}

function changesOf(before: Figures | undefined, after: Figures): RateChange[] {
  const [old, wanted] = [before === undefined ? new Map<string, string>() : figuresOf(before), figuresOf(after)]
  return [...new Set([...old.keys(), ...wanted.keys()])]
    .map((bucket) => ({ bucket, from_usd: old.get(bucket) ?? null, to_usd: wanted.get(bucket) ?? null }))
    .filter(({ from_usd, to_usd }) => from_usd !== to_usd)
}

const isSame = (one: Figures, other: Figures) => changesOf(one, other).length === 0
const isSameTime = (one: string, other: string) => Date.parse(one) === Date.parse(other)
const isByAdmin = (version: CurrentVersion | undefined) =>
  version !== undefined && (version.source === 'admin' || version.source.startsWith('admin: '))

/** Why the database would refuse a card; null if it would not. */
function unsoundness(card: Omit<PriceVersion, 'aliases'>): string | null {
  if (card.provider.length > NAME_LENGTH_MAX || card.model.length > NAME_LENGTH_MAX) return 'has too long a name'
  const threshold = card.long_context?.input_tokens_over ?? 0
  if (!Number.isSafeInteger(threshold) || threshold < 0 || threshold >= 1e12) return 'has no sound threshold'
  for (const [bucket, amount] of figuresOf(card)) {
    if (amount.startsWith('-')) return `${bucket} is negative: ${amount}`
    if (!RATE.test(amount)) return `${bucket} is out of bounds: ${amount}`
  }
  return null
}

/** Why a change needs an administrator; null if it does not. */
function absurdity(changes: readonly RateChange[]): string | null {
  for (const { bucket, from_usd: from, to_usd: to } of changes) {
    if (bucket.startsWith('modifier ') || bucket === 'long_context.input_tokens_over') continue
    // Without a rate of its own a bucket takes another one's, which may be far less.
    if (to === null) return `${bucket} is no longer named; it was ${from}`
    if (decimal(to).gt(RATE_USD_MAX)) return `${bucket} is more than ${RATE_USD_MAX} USD: ${to}`
    if (from === null || isZero(decimal(from))) continue
    if (isZero(decimal(to))) return `${bucket} becomes free, from ${from}`
    const isFar = (low: string, high: string) => decimal(high).gt(decimal(low).times(CHANGE_FACTOR_MAX))
    if (isFar(from, to) || isFar(to, from))
      return `${bucket} changes more than ${CHANGE_FACTOR_MAX} times, from ${from} to ${to}`
  }
  return null
}

function modelName({ provider, model }: { provider: string; model: string }): string {
  return `${provider} ${model}`
}
