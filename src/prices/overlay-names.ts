import { decimal, usdText } from '../domain/money.ts'
import type { Rates } from '../domain/price.ts'
import type { PriceVersion } from './package.ts'

/** Another name of a model, matched exactly. */
export type OverlayAlias = { provider: string; alias: string; model: string }

/**
 * Names for all models of a provider whose id matches. They are expanded to exact names when prices are published, so
 * a lookup never matches patterns.
 */
export type OverlayNames = {
  provider: string
  /** A regular expression over model ids. */
  models: string
  why: string
  /** The replacements of a matching id, each of which makes one name; `$1` is the first group. */
  aliases: string[]
}

/**
 * Models of one provider that another provider sells too. Cards that the seller lacks are copied with the same token
 * rates.
 */
export type OverlayMirror = {
  provider: string
  of: string
  /** A regular expression over model ids. */
  models: string
  why: string
  /** The replacement of a matching id, if the seller uses another name. */
  as?: string
  /** The factor on the copied rates. 1 if left out. */
  times?: string
}

type NameRules = { mirrors: OverlayMirror[]; names: OverlayNames[]; aliases: OverlayAlias[] }

/**
 * Copies cards for providers that lack them: the token rates of all versions and, if the name is the same, the
 * aliases. Fees and modifiers are not copied: they come from the provider's own terms. A name that already is or
 * means a model of the provider keeps its meaning.
 */
export function mirrored(
  models: readonly PriceVersion[][],
  { mirrors, aliases }: NameRules,
  signed: (source: string) => string,
): PriceVersion[][] {
  const taken = new Set(aliases.map(({ provider, alias }) => nameKey(provider, alias)))
  for (const { provider, model, aliases: names = [] } of models.flat())
    for (const name of [model, ...names]) taken.add(nameKey(provider, name))
  /** Claims a name of a provider; false if it was taken already. */
  const claim = (provider: string, name: string) => {
    const isFree = !taken.has(nameKey(provider, name))
    taken.add(nameKey(provider, name))
    return isFree
  }

  return mirrors.flatMap(({ provider, of, models: ids, as = '$&', times = '1' }) =>
    models.flatMap((cards) => {
      const [first] = cards
      if (first?.provider !== of || !new RegExp(ids).test(first.model)) return []
      const model = first.model.replace(new RegExp(ids), as)
      if (!claim(provider, model)) return []
      const ours = aliases.filter((alias) => alias.provider === of && alias.model === first.model)
      const names = as === '$&' ? [...(first.aliases ?? []), ...ours.map(({ alias }) => alias)] : []
      const free = names.filter((name) => claim(provider, name))
      const copies = cards.map(({ aliases: _aliases, ...card }) => ({
        ...card,
        provider,
        model,
        source: signed(card.source),
        copy_of: { provider: of, model: first.model },
        usd_per_mtok: multiplied(card.usd_per_mtok, times),
        usd_per_unit: {},
        modifiers: {},
        long_context: card.long_context && {
          ...card.long_context,
          usd_per_mtok: multiplied(card.long_context.usd_per_mtok, times),
        },
      }))
      return [copies.map((card, index) => (index === 0 ? { ...card, aliases: free } : card))]
    }),
  )
}

function multiplied(rates: Rates, factor: string): Rates {
  return Object.fromEntries(
    Object.entries(rates).map(([bucket, rate]) => [bucket, usdText(decimal(rate).times(decimal(factor)))]),
  )
}

/**
 * The models with the overlay's names, which stand on a model's first version. They win over the package's. A model's own
 * id is never an alias of another model. If two rules claim a name, the first one has it.
 *
 * @throws Error when an alias of the overlay names no model.
 */
export function withAliases(models: PriceVersion[][], { aliases, names }: NameRules): PriceVersion[][] {
  const own = new Set(models.flatMap(([card]) => (card === undefined ? [] : [modelKey(card)])))
  for (const alias of aliases)
    if (!own.has(modelKey(alias)))
      throw new Error(`the overlay has an alias of a model without a price: ${modelKey(alias)}`)

  const meant = new Map(aliases.map((alias) => [nameKey(alias.provider, alias.alias), alias]))
  for (const { provider, models: ids, aliases: replacements } of names) {
    for (const [card] of models) {
      if (card?.provider !== provider || !new RegExp(ids).test(card.model)) continue
      for (const replacement of replacements) {
        const alias = card.model.replace(new RegExp(ids), replacement)
        const key = nameKey(provider, alias)
        if (!own.has(key) && !meant.has(key)) meant.set(key, { provider, alias, model: card.model })
      }
    }
  }
  const ours = Map.groupBy(meant.values(), modelKey)
  return models.map(([first, ...others]) => {
    if (first === undefined) return []
    const theirs = (first.aliases ?? []).filter((alias) => {
      const key = nameKey(first.provider, alias)
      return !own.has(key) && !meant.has(key)
    })
    const added = (ours.get(modelKey(first)) ?? []).map(({ alias }) => alias)
    return [{ ...first, aliases: [...theirs, ...added] }, ...others]
  })
}

export function modelKey({ provider, model }: { provider: string; model: string }): string {
  return nameKey(provider, model)
}

function nameKey(provider: string, name: string): string {
  return `${provider} ${name}`
}
