import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

export type ArchiveState = 'closed' | 'verified' | 'archived' | 'restored' | 'deleted'

/** A month of records that is, or is about to be, in a file. Times are RFC 3339, amounts decimal text. */
export type Archive = {
  partition: string
  state: ArchiveState
  starts_at: string
  ends_at: string
  records: number
  cost_usd: string
  content_sha256: string | null
  file: string | null
}

const columns = sql`a.partition, a.state, to_json(a.starts_at) #>> '{}' as starts_at, to_json(a.ends_at) #>> '{}' as ends_at,
  a.records::integer as records, trim_scale(a.cost_usd)::text as cost_usd, a.content_sha256, a.file`

export async function listArchives(db: Db): Promise<Archive[]> {
  const { rows } = await sql<Archive>`
    select ${columns} from copilot_internal.cost_archives a order by a.partition`.execute(db)
  return rows
}

export async function findArchive(db: Db, partition: string): Promise<Archive | null> {
  const { rows } = await sql<Archive>`
    select ${columns} from copilot_internal.cost_archives a where a.partition = ${partition}`.execute(db)
  return rows[0] ?? null
}

/** The partitions whose months ended before the retention, the oldest first; not what was restored to be kept for a while. */
export async function listExpiredPartitions(db: Db, retentionDays: number): Promise<string[]> {
  const { rows } = await sql<{ partition: string }>`
    select p.partition
    from (
      select c.relname as partition, substring(c.relname from '[0-9]+_[0-9]+$') as month
      from pg_class c
      where c.relnamespace = 'copilot_partitions'::regnamespace and c.relispartition and c.relkind = 'r'
        and c.relname ~ '^(llm|e2b)_cost_records_[0-9]+_[0-9]{2}$'
    ) p
    left join copilot_internal.cost_archives a on a.partition = p.partition
    where (to_date(p.month, 'YYYY_MM') + interval '1 month') at time zone 'UTC'
            <= copilot_internal.clock_now() - make_interval(days => ${retentionDays})
      and coalesce(a.keep_until, '-infinity') <= copilot_internal.clock_now()
    order by p.month, p.partition`.execute(db)
  return rows.map(({ partition }) => partition)
}

/** How many records a partition has. Reads its month. */
export async function countPartition(db: Db, partition: string): Promise<number> {
  const month = sql`to_date(${partition.replace(/^.*?_records_/, '')}, 'YYYY_MM')`
  const { rows } = await sql<{ records: number }>`
    select count(*)::integer as records from ${recordTable(partition)} c
    where c.recorded_at >= ${month} at time zone 'UTC' and c.recorded_at < (${month} + interval '1 month') at time zone 'UTC'`.execute(
    db,
  )
  return rows[0]!.records
}

/** The table that a partition is of. */
const recordTable = (partition: string) => sql.table(`copilot_internal.${partition.replace(/_[0-9_]+$/, '')}`)

/** The archives whose files are older than their years. */
export async function listOutdatedArchives(db: Db, years: number): Promise<Archive[]> {
  const { rows } = await sql<Archive>`
    select ${columns} from copilot_internal.cost_archives a
    where a.state = 'archived' and a.ends_at + make_interval(years => ${years}) <= copilot_internal.clock_now()
    order by a.partition`.execute(db)
  return rows
}

/** Makes a past month unchangeable and sums it up; false where there is no such partition. */
export async function closePartition(db: Db, partition: string): Promise<boolean> {
  const { rows } = await sql<{ closed: boolean }>`
    select copilot_internal.close_cost_partition(${partition}) as closed`.execute(db)
  return rows[0]!.closed
}

/** Rows of a closed partition as JSON text, behind the last one that was read. */
export async function readPartitionRows(
  db: Db,
  { partition, starts_at: startsAt, ends_at: endsAt }: Archive,
  after: { recordedAt: string; recordId: string } | null,
  rowsMax: number,
): Promise<{ row: string; recorded_at: string; cost_record_id: string }[]> {
  const behind =
    after === null
      ? sql`true`
      : sql`(c.recorded_at, c.cost_record_id) > (${after.recordedAt}::timestamptz, ${after.recordId}::uuid)`
  const { rows } = await sql<{ row: string; recorded_at: string; cost_record_id: string }>`
    select row_to_json(c)::text as row, to_json(c.recorded_at) #>> '{}' as recorded_at, c.cost_record_id
    from ${recordTable(partition)} c
    where c.recorded_at >= ${startsAt}::timestamptz and c.recorded_at < ${endsAt}::timestamptz and ${behind}
    order by c.recorded_at, c.cost_record_id
    limit ${rowsMax}`.execute(db)
  return rows
}

/** Notes that the file of a closed (or restored) month was read back and is right. */
export async function markVerified(db: Db, partition: string, contentSha256: string, file: string): Promise<void> {
  await sql`select copilot_internal.verify_archive(${partition}, ${contentSha256}, ${file})`.execute(db)
}

export async function markDeleted(db: Db, partition: string): Promise<void> {
  await sql`select copilot_internal.forget_archive(${partition})`.execute(db)
}

/** Deletes keys of direct records of before the end of an archive's month, at most so many; answers how many. */
export async function deleteArchivedKeys(db: Db, { ends_at: endsAt }: Archive, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select copilot_internal.delete_record_keys(${endsAt}::timestamptz, ${rowsMax}) as deleted`.execute(db)
  return rows[0]!.deleted
}

/** The archives whose costs `archived_usd` of some balance still lacks, or has too much. */
export async function listUncarriedArchives(db: Db): Promise<string[]> {
  const { rows } = await sql<{ partition: string }>`
    select a.partition from copilot_internal.cost_archives a
    where a.carried_to <> case when a.state in ('archived', 'deleted') then 9223372036854775807 else 0 end
    order by a.partition`.execute(db)
  return rows.map(({ partition }) => partition)
}

/** Brings `archived_usd` of at most so many balances into step with where a month is; answers how many, 0 where all is done. */
export async function carryArchive(db: Db, partition: string, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ carried: number }>`
    select copilot_internal.carry_archive(${partition}, ${rowsMax}) as carried`.execute(db)
  return rows[0]!.carried
}

/** Takes a verified month out of the database; answers how many records. @throws 55P03 where others have its tables. */
export async function dropPartition(db: Db, partition: string): Promise<number> {
  const { rows } = await sql<{ records: string }>`
    select copilot_internal.drop_cost_partition(${partition}) as records`.execute(db)
  return Number(rows[0]!.records)
}

export async function prepareRestore(db: Db, partition: string): Promise<void> {
  await sql`select copilot_internal.prepare_restore(${partition})`.execute(db)
}

/** Puts rows, each as JSON text, into the table of a restore. */
export async function loadArchivedRows(db: Db, partition: string, rows: string[]): Promise<void> {
  await sql`select copilot_internal.load_archived_records(${partition}, ${`[${rows.join(',')}]`}::json)`.execute(db)
}

/**
 * Makes a restored month a partition again, which is left alone for so many days; answers how many records.
 * @throws 55P03 where others have the tables.
 */
export async function finishRestore(db: Db, partition: string, keepDays: number): Promise<number> {
  const { rows } = await sql<{ records: string }>`
    select copilot_internal.finish_restore(
      ${partition}, copilot_internal.clock_now() + make_interval(days => ${keepDays})) as records`.execute(db)
  return Number(rows[0]!.records)
}

/** Deletes reservations and keys that were settled so long ago, at most so many of each; answers how many. */
export async function deleteSettled(db: Db, days: number, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select copilot_internal.delete_settled(
      copilot_internal.clock_now() - make_interval(days => ${days}), ${rowsMax}) as deleted`.execute(db)
  return rows[0]!.deleted
}

/**
 * Copies what reservations say of the price of lines of an early release, at most so many lines; answers how many it looked
 * at, 0 once all are done.
 */
export async function keepLineFacts(db: Db, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ looked: number }>`
    select copilot_internal.keep_line_facts(${rowsMax}) as looked`.execute(db)
  return rows[0]!.looked
}

/** How many reservations delete_settled() would delete. */
export async function countSettled(db: Db, days: number): Promise<number> {
  const { rows } = await sql<{ settled: string }>`
    select count(*) as settled from copilot_internal.reservations r
    where r.settled_at < copilot_internal.clock_now() - make_interval(days => ${days})`.execute(db)
  return Number(rows[0]!.settled)
}

/** A tenant or user ('' for none) by resource type. */
export type ScopeKey = { resource_type: 'llm' | 'e2b'; tenant_id: string; user_id: string }

/** Tenants and users that nobody has used for so many days, behind the given one; is_free: nothing names them. */
export async function listIdleScopes(
  db: Db,
  days: number,
  after: ScopeKey,
  scopesMax: number,
): Promise<(ScopeKey & { is_free: boolean })[]> {
  const { rows } = await sql<ScopeKey & { is_free: boolean }>`
    select * from copilot_internal.idle_scopes(copilot_internal.clock_now() - make_interval(days => ${days}),
      ${after.resource_type}, ${after.tenant_id}, ${after.user_id}, ${scopesMax})`.execute(db)
  return rows
}

/** Takes away those that are still idle, with the quotas that defaults gave them; answers how many. @throws 55P03. */
export async function retireScopes(db: Db, days: number, scopes: ScopeKey[]): Promise<number> {
  const { rows } = await sql<{ retired: number }>`
    select copilot_internal.retire_scopes(
      ${scopes.map((scope) => scope.resource_type)}::copilot_internal.resource_type[], ${scopes.map((scope) => scope.tenant_id)}::text[],
      ${scopes.map((scope) => scope.user_id)}::text[], copilot_internal.clock_now() - make_interval(days => ${days})) as retired`.execute(
    db,
  )
  return rows[0]!.retired
}

/** Deletes events that were told so long ago, with their deliveries, at most so many; answers how many. */
export async function deleteOldEvents(db: Db, days: number, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select copilot_internal.delete_old_events(
      copilot_internal.clock_now() - make_interval(days => ${days}), ${rowsMax}) as deleted`.execute(db)
  return rows[0]!.deleted
}

/** How many events delete_old_events() would delete. */
export async function countDeletableEvents(db: Db, days: number): Promise<number> {
  const { rows } = await sql<{ deletable: string }>`
    select count(*) as deletable from copilot_internal.clock_now() now
    cross join lateral copilot_internal.deletable_events(now - make_interval(days => ${days}), now)`.execute(db)
  return Number(rows[0]!.deletable)
}
