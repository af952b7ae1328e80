import { sql, type RawBuilder } from 'kysely'
import type { Fee, Rates } from '../../domain/price.ts'
import type { Db } from '../pool/connection.ts'

/** A model's rate card to publish, with the field names of publish_model_prices(). Decimals as text, times RFC 3339. */
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

/** A sandbox's rate card to publish, with the field names of publish_e2b_prices(). Decimals as text. */
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

/** The id of an administrator's new version, or why nothing was written. */
export type AddedPrice = { price_id: number } | { exists: number | null } | { alias_of: string } | { size_of: string }

/** Adds one version of a model's rate card. @param replaces the version of that date to replace; null: none; 0: any. */
export async function addModelPrice(db: Db, version: NewModelPrice, replaces: number | null): Promise<AddedPrice> {
  const { rows } = await sql<{ added: AddedPrice }>`
    select copilot_internal.add_model_price(${JSON.stringify(version)}::text::jsonb, ${replaces}::bigint) as added`.execute(
    db,
  )
  return rows[0]!.added
}

/** Adds one version of a sandbox's rate card. @param replaces as for addModelPrice(). */
export async function addE2bPrice(db: Db, version: NewE2bPrice, replaces: number | null): Promise<AddedPrice> {
  const { rows } = await sql<{ added: AddedPrice }>`
    select copilot_internal.add_e2b_price(${JSON.stringify(version)}::text::jsonb, ${replaces}::bigint) as added`.execute(
    db,
  )
  return rows[0]!.added
}

export type VersionFilter = {
  priceId?: number | undefined
  /** RFC 3339: only versions that are in force at this time. */
  at?: string | undefined
  status?: PriceStatus | undefined
}

/**
 * Lists at most `rowsMax` versions of models' rate cards by provider, model (or its alias) and date, without superseded ones.
 *
 * @param afterId the last price_id of the previous page.
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
        where a.provider = m.provider and a.model = m.model and (a.expires_at is null or a.expires_at > clock.now)),
      'effective_date', m.effective_date, 'expires_at', m.expires_at, 'source', m.source, 'status', s.status,
      'usd_per_mtok', m.usd_per_mtok, 'usd_per_unit', m.usd_per_unit, 'long_context', m.long_context,
      'modifiers', m.modifiers) as price
    from copilot_internal.model_pricing m
    cross join clock
    cross join lateral (${statusOf('m')}) as s(status)
    where m.superseded_at is null and ${versionMatches('m', filter)}
      and (${provider}::text is null or m.provider = ${provider})
      and (${model}::text is null or m.model = ${model} or exists (
        select from copilot_internal.model_aliases a
        where a.provider = m.provider and a.model = m.model and a.alias = ${model}
          and (a.expires_at is null or a.expires_at > clock.now)))
      and (${afterId}::bigint is null or (m.provider, m.model, m.effective_date) > (
        select p.provider, p.model, p.effective_date from copilot_internal.model_pricing p where p.price_id = ${afterId}))
    order by m.provider, m.model, m.effective_date
    limit ${rowsMax}`.execute(db)
  return rows.map(({ price }) => price)
}

/** Lists versions of sandboxes' rate cards by tier, region and date; otherwise as listModelVersions(). */
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
    where e.superseded_at is null and ${versionMatches('e', filter)}
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

function versionMatches(
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

/** All models' prices in the database: the versions that are not superseded, and the model that each alias finally means. */
export type AllModelPrices = {
  versions: (Omit<NewModelPrice, 'aliases' | 'effective_date' | 'expires_at'> & {
    effective_date: string
    expires_at: string | null
    usd_per_unit: Partial<Record<Fee, string>>
    long_context: { input_tokens_over: number; usd_per_mtok: Rates } | null
    modifiers: Record<string, string>
  })[]
  aliases: { provider: string; alias: string; model: string; by_admin: boolean }[]
}

/** Reads all models' prices in one statement, and the time of the database in whole milliseconds. */
export async function readAllModelPrices(db: Db): Promise<{ at: Date; current: AllModelPrices }> {
  const { rows } = await sql<{ at: Date; current: AllModelPrices }>`
    select date_trunc('milliseconds', copilot_internal.clock_now()) as at, json_build_object(
      'versions', (
        select coalesce(json_agg(json_build_object(
          'provider', m.provider, 'model', m.model, 'effective_date', m.effective_date, 'expires_at', m.expires_at,
          'source', m.source, 'usd_per_mtok', m.usd_per_mtok, 'usd_per_unit', m.usd_per_unit,
          'long_context', m.long_context, 'modifiers', m.modifiers) order by m.effective_date), '[]')
        from copilot_internal.model_pricing m where m.superseded_at is null),
      'aliases', (
        select coalesce(json_agg(json_build_object(
          'provider', a.provider, 'alias', a.alias, 'model', a.model,
          'by_admin', copilot_internal.is_admin_source(a.source))), '[]')
        from copilot_internal.model_aliases a where a.expires_at is null)) as current`.execute(db)
  return rows[0]!
}

/** Locks prices against changes by others until the transaction ends, so that it changes exactly what it has read. */
export async function lockPrices(transaction: Db): Promise<void> {
  await sql`select copilot_internal.lock_prices()`.execute(transaction)
}

/** Stores that price data of that time was read from a feed. An older time changes nothing. */
export async function noteFeed(db: Db, at: Date): Promise<void> {
  // No price changes, so the edition stays the same.
  await sql`update copilot_internal.price_edition
    set fed_at = greatest(fed_at, least(${at}::timestamptz, copilot_internal.clock_now()))`.execute(db)
}

/** Reads the time of the newest data that was read from a feed; null if none was ever read. */
export async function readFedAt(db: Db): Promise<Date | null> {
  const { rows } = await sql<{ at: Date | null }>`select fed_at as at from copilot_internal.price_edition`.execute(db)
  return rows[0]!.at
}

export type PublishCounts = { added: number; unchanged: number; superseded: number; heldBack: number }

/** Publishes at most 10,000 versions of models' rate cards and aliases. Idempotent. */
export async function publishModelPrices(
  db: Db,
  versions: readonly NewModelPrice[],
): Promise<PublishCounts & { aliasesSet: number }> {
  const { rows } = await sql<CountsRow & { aliases_set: number }>`
    select * from copilot_internal.publish_model_prices(${JSON.stringify(versions)}::text::jsonb)`.execute(db)
  return { ...countsOf(rows[0]!), aliasesSet: rows[0]!.aliases_set }
}

/** Publishes versions of the sandbox rate cards. Idempotent. */
export async function publishE2bPrices(db: Db, versions: readonly object[]): Promise<PublishCounts> {
  const { rows } = await sql<CountsRow>`
    select * from copilot_internal.publish_e2b_prices(${JSON.stringify(versions)}::text::jsonb)`.execute(db)
  return countsOf(rows[0]!)
}

type CountsRow = { added: number; unchanged: number; superseded: number; held_back: number }

function countsOf({ added, unchanged, superseded, held_back }: CountsRow): PublishCounts {
  return { added, unchanged, superseded, heldBack: held_back }
}

/** Reads which package and overlay a start published last; null on a new database. */
export async function readSeedKey(db: Db): Promise<string | null> {
  const { rows } = await sql<{ seed_key: string }>`select seed_key from copilot_internal.price_seed`.execute(db)
  return rows[0]?.seed_key ?? null
}

export async function writeSeedKey(db: Db, seedKey: string): Promise<void> {
  await sql`
    insert into copilot_internal.price_seed (seed_key) values (${seedKey})
    on conflict (only_row) do update set seed_key = excluded.seed_key, seeded_at = copilot_internal.clock_now()`.execute(
    db,
  )
}
