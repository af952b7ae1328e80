import { sql } from 'kysely'
import type { E2bPrice } from '../../domain/e2b.ts'
import type { ModelPrice } from '../../domain/price.ts'
import type { Db } from '../pool/connection.ts'

/** Prices as of an edition. The edition is a number that grows with every change of any price. */
export type PricesThen<Price> = { edition: number; prices: Price[] }

/** Reads the current edition, which is that of the last committed change. */
export async function readPriceEdition(db: Db): Promise<number> {
  const { rows } = await sql<{ edition: string }>`select edition::text from copilot_internal.price_edition`.execute(db)
  return Number(rows[0]!.edition)
}

/** A rate card, and the time in which it prices a name: while the card is in force and the name means its model. */
export type NamedPrice = ModelPrice & {
  /** RFC 3339, inclusive. */
  pricesFrom: string
  /** RFC 3339, exclusive; null: open. */
  pricesUntil: string | null
}

/**
 * Finds all current, past and scheduled versions of the model that a name means. While an alias is in force, that is its
 * model, else the model of that name, as in resolve_model(). Never matches a prefix.
 *
 * Without a provider, finds the versions of every provider that has the name. Empty if no provider has it.
 */
export async function findModelPrices(db: Db, provider: string | null, name: string): Promise<PricesThen<NamedPrice>> {
  const { rows } = await sql<{ edition: string; prices: NamedPrice[] }>`
    with aliases as (
      select a.provider, a.model, tstzrange(a.effective_date, a.expires_at) as meant
      from copilot_internal.model_aliases a
      where a.alias = ${name} and (${provider}::text is null or a.provider = ${provider})
    ), named as (
      select a.provider, a.model, a.meant from aliases a
      union all
      select own.provider, ${name}, u.meant
      from (
        select distinct m.provider from copilot_internal.model_pricing m
        where m.model = ${name} and m.superseded_at is null and (${provider}::text is null or m.provider = ${provider})
      ) own
      cross join lateral unnest('{(,)}'::tstzmultirange - coalesce(
        (select range_agg(a.meant) from aliases a where a.provider = own.provider), '{}')) u(meant)
    )
    select n.edition::text, coalesce((
      select json_agg(json_build_object(
        'pricesFrom', lower(priced.during), 'pricesUntil', upper(priced.during),
        'priceId', m.price_id::text, 'provider', m.provider, 'model', m.model, 'effectiveDate', m.effective_date, 'expiresAt', m.expires_at,
        'source', m.source, 'usdPerMtok', m.usd_per_mtok, 'usdPerUnit', m.usd_per_unit, 'modifiers', m.modifiers,
        'longContext', case when m.long_context is not null then json_build_object(
          'inputTokensOver', m.long_context -> 'input_tokens_over', 'usdPerMtok', m.long_context -> 'usd_per_mtok') end)
        order by m.effective_date)
      from named
      join copilot_internal.model_pricing m
        on m.provider = named.provider and m.model = named.model and m.superseded_at is null
      cross join lateral (select tstzrange(m.effective_date, m.expires_at) * named.meant as during) priced
      where not isempty(priced.during)), '[]') as prices
    from copilot_internal.price_edition n`.execute(db)
  return pricesThen(rows)
}

/** Finds all versions of a tier's rate card in a region, oldest first. */
export async function findE2bPrices(db: Db, tier: string, region: string): Promise<PricesThen<E2bPrice>> {
  const { rows } = await sql<{ edition: string; prices: E2bPrice[] }>`
    select n.edition::text, coalesce((
      select json_agg(json_build_object(
        'priceId', e.price_id::text, 'tier', e.tier, 'region', e.region, 'vcpu', e.vcpu::text, 'memoryMib', e.memory_mib,
        'usdPerVcpuSecond', e.usd_per_vcpu_second::text, 'usdPerGibSecond', e.usd_per_gib_second::text,
        'effectiveDate', e.effective_date, 'expiresAt', e.expires_at, 'source', e.source) order by e.effective_date)
      from copilot_internal.e2b_pricing e
      where e.tier = ${tier} and e.region = ${region} and e.superseded_at is null), '[]') as prices
    from copilot_internal.price_edition n`.execute(db)
  return pricesThen(rows)
}

function pricesThen<Price>([row]: { edition: string; prices: Price[] }[]): PricesThen<Price> {
  return { edition: Number(row!.edition), prices: row!.prices }
}

type PricedFor = Pick<NamedPrice, 'pricesFrom' | 'pricesUntil'>

/** Lists every name (also aliases) that has a price at some time, and that time; one row per version. Used for suggestions. */
export async function listPricedNames(db: Db): Promise<({ provider: string; model: string } & PricedFor)[]> {
  const { rows } = await sql<{ names: ({ provider: string; model: string } & PricedFor)[] }>`
    with aliases as (
      select a.provider, a.alias as name, a.model, tstzrange(a.effective_date, a.expires_at) as meant
      from copilot_internal.model_aliases a
    ), named as (
      select a.provider, a.name, a.model, a.meant from aliases a
      union all
      select own.provider, own.model, own.model, u.meant
      from (
        select distinct m.provider, m.model from copilot_internal.model_pricing m where m.superseded_at is null
      ) own
      left join (
        select a.provider, a.name, range_agg(a.meant) as meant from aliases a group by a.provider, a.name
      ) other on other.provider = own.provider and other.name = own.model
      cross join lateral unnest('{(,)}'::tstzmultirange - coalesce(other.meant, '{}')) u(meant)
    )
    select coalesce(json_agg(json_build_object(
      'provider', n.provider, 'model', n.name,
      'pricesFrom', lower(priced.during), 'pricesUntil', upper(priced.during))), '[]') as names
    from named n
    join copilot_internal.model_pricing m
      on m.provider = n.provider and m.model = n.model and m.superseded_at is null
    cross join lateral (select tstzrange(m.effective_date, m.expires_at) * n.meant as during) priced
    where not isempty(priced.during)`.execute(db)
  return rows[0]!.names
}

/** Lists every tier that has a price at some time, and that time; one row per version. Used for suggestions. */
export async function listPricedTiers(db: Db): Promise<({ tier: string; region: string } & PricedFor)[]> {
  const { rows } = await sql<{ tiers: ({ tier: string; region: string } & PricedFor)[] }>`
    select coalesce(json_agg(json_build_object(
      'tier', e.tier, 'region', e.region, 'pricesFrom', e.effective_date, 'pricesUntil', e.expires_at)), '[]') as tiers
    from copilot_internal.e2b_pricing e
    where e.superseded_at is null`.execute(db)
  return rows[0]!.tiers
}
