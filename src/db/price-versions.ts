import { sql, type RawBuilder } from 'kysely'
import type { Fee, Rates } from '../domain/price.ts'
import type { Db } from './connection.ts'

/** A model's rate card to be published, in the names of publish_model_prices(). Decimals as text, times RFC 3339. */
export type NewModelPrice = {
  provider: string
  model: string
  effective_date?: string | undefined
  expires_at?: string | null | undefined
  source: string
  usd_per_mtok: Rates
  usd_per_unit?: Partial<Record<Fee, string>> | undefined
  long_context?: { input_tokens_over: number; usd_per_mtok: Rates } | null | undefined
  modifiers?: Record<string, string> | undefined
  aliases?: string[] | undefined
}

/** A sandbox's rate card to be published, in the names of publish_e2b_prices(). Decimals as text. */
export type NewE2bPrice = {
  tier: string
  region: string
  vcpu?: string | undefined
  memory_mib?: number | undefined
  usd_per_vcpu_second: string
  usd_per_gib_second: string
  effective_date?: string | undefined
  expires_at?: string | null | undefined
  source: string
}

export type PriceStatus = 'current' | 'past' | 'scheduled'

/** A version that is not superseded; decimals as text. */
export type StoredModelPrice = {
  price_id: number
  provider: string
  model: string
  aliases: string[]
  effective_date: string
  expires_at: string | null
  source: string
  status: PriceStatus
  usd_per_mtok: Rates
  usd_per_unit: Partial<Record<Fee, string>>
  long_context: { input_tokens_over: number; usd_per_mtok: Rates } | null
  modifiers: Record<string, string>
}

export type StoredE2bPrice = {
  price_id: number
  tier: string
  region: string
  vcpu: string
  memory_mib: number
  usd_per_vcpu_second: string
  usd_per_gib_second: string
  price_per_second: string
  effective_date: string
  expires_at: string | null
  source: string
  status: PriceStatus
}

/** What became of an admin's version: its id; or why nothing was written. */
export type AddedPrice = { price_id: number } | { exists: number | null } | { alias_of: string } | { size_of: string }

/** Adds one version of a model's rate card. @param replaces null: none of that date; 0: whichever stands there. */
export async function addModelPrice(db: Db, version: NewModelPrice, replaces: number | null): Promise<AddedPrice> {
  const { rows } = await sql<{ added: AddedPrice }>`
    select copilot_internal.add_model_price(${JSON.stringify(version)}::text::jsonb, ${replaces}::bigint) as added`.execute(
    db,
  )
  return rows[0]!.added
}

/** Adds one version of a sandbox's rate card; likewise. */
export async function addE2bPrice(db: Db, version: NewE2bPrice, replaces: number | null): Promise<AddedPrice> {
  const { rows } = await sql<{ added: AddedPrice }>`
    select copilot_internal.add_e2b_price(${JSON.stringify(version)}::text::jsonb, ${replaces}::bigint) as added`.execute(
    db,
  )
  return rows[0]!.added
}

export type VersionFilter = {
  priceId?: number | undefined
  /** RFC 3339: only versions that are in force then. */
  at?: string | undefined
  status?: PriceStatus | undefined
}

/**
 * Versions of rate cards in the order of provider, model (or its alias) and date, at most `rowsMax`; superseded ones are
 * not among them.
 *
 * @param afterId the price_id that the page before ended with.
 */
export async function listModelVersions(
  db: Db,
  filter: VersionFilter & { provider?: string | undefined; model?: string | undefined },
  afterId: number | null,
  rowsMax: number,
): Promise<StoredModelPrice[]> {
  const { provider = null, model = null } = filter
  const { rows } = await sql<{ price: StoredModelPrice }>`
    with clock as materialized (select copilot_internal.clock_now() as now)
    select json_build_object(
      'price_id', m.price_id, 'provider', m.provider, 'model', m.model,
      'aliases', (
        select coalesce(json_agg(a.alias order by a.alias), '[]') from copilot_internal.model_aliases a
        where a.provider = m.provider and a.model = m.model),
      'effective_date', m.effective_date, 'expires_at', m.expires_at, 'source', m.source, 'status', s.status,
      'usd_per_mtok', m.usd_per_mtok, 'usd_per_unit', m.usd_per_unit, 'long_context', m.long_context,
      'modifiers', m.modifiers) as price
    from copilot_internal.model_pricing m
    cross join clock
    cross join lateral (${statusOf('m')}) as s(status)
    where m.superseded_at is null and ${isWanted('m', filter)}
      and (${provider}::text is null or m.provider = ${provider})
      and (${model}::text is null or m.model = ${model} or exists (
        select from copilot_internal.model_aliases a
        where a.provider = m.provider and a.model = m.model and a.alias = ${model}))
      and (${afterId}::bigint is null or (m.provider, m.model, m.effective_date) > (
        select p.provider, p.model, p.effective_date from copilot_internal.model_pricing p where p.price_id = ${afterId}))
    order by m.provider, m.model, m.effective_date
    limit ${rowsMax}`.execute(db)
  return rows.map(({ price }) => price)
}

/** Likewise for sandboxes, in the order of tier, region and date. */
export async function listE2bVersions(
  db: Db,
  filter: VersionFilter & { tier?: string | undefined; region?: string | undefined },
  afterId: number | null,
  rowsMax: number,
): Promise<StoredE2bPrice[]> {
  const { tier = null, region = null } = filter
  const { rows } = await sql<{ price: StoredE2bPrice }>`
    with clock as materialized (select copilot_internal.clock_now() as now)
    select json_build_object(
      'price_id', e.price_id, 'tier', e.tier, 'region', e.region, 'vcpu', e.vcpu::text, 'memory_mib', e.memory_mib,
      'usd_per_vcpu_second', e.usd_per_vcpu_second::text, 'usd_per_gib_second', e.usd_per_gib_second::text,
      'price_per_second', e.price_per_second::text,
      'effective_date', e.effective_date, 'expires_at', e.expires_at, 'source', e.source, 'status', s.status) as price
    from copilot_internal.e2b_pricing e
    cross join clock
    cross join lateral (${statusOf('e')}) as s(status)
    where e.superseded_at is null and ${isWanted('e', filter)}
      and (${tier}::text is null or e.tier = ${tier})
      and (${region}::text is null or e.region = ${region})
      and (${afterId}::bigint is null or (e.tier, e.region, e.effective_date) > (
        select p.tier, p.region, p.effective_date from copilot_internal.e2b_pricing p where p.price_id = ${afterId}))
    order by e.tier, e.region, e.effective_date
    limit ${rowsMax}`.execute(db)
  return rows.map(({ price }) => price)
}

function statusOf(table: string): RawBuilder<unknown> {
  const version = sql.id(table)
  return sql`
    select case when ${version}.effective_date > clock.now then 'scheduled'
      when ${version}.expires_at <= clock.now then 'past' else 'current' end`
}

function isWanted(
  table: string,
  { priceId = null, at = null, status = null }: { [K in keyof VersionFilter]: VersionFilter[K] | null },
) {
  const version = sql.id(table)
  return sql<boolean>`
    (${priceId}::bigint is null or ${version}.price_id = ${priceId})
    and (${status}::text is null or s.status = ${status})
    and (${at}::timestamptz is null or (
      ${version}.effective_date <= ${at}::timestamptz
      and (${version}.expires_at is null or ${version}.expires_at > ${at}::timestamptz)))`
}
