import { sql } from 'kysely'
import type { Db } from '../pool/connection.ts'

export type ArchiveState = 'closed' | 'verified' | 'archived' | 'restored' | 'deleted'

/** A month of records that is in a file or is being archived. Times are RFC 3339, amounts are decimal text. */
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

/** Lists the partitions whose months ended more than `retentionDays` ago, oldest first, without restored months that are still kept. */
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

/** Counts the records of a partition. Reads the whole month. */
export async function countPartition(db: Db, partition: string): Promise<number> {
  const month = sql`to_date(${partition.replace(/^.*?_records_/, '')}, 'YYYY_MM')`
  const { rows } = await sql<{ records: number }>`
    select count(*)::integer as records from ${recordTable(partition)} c
    where c.recorded_at >= ${month} at time zone 'UTC' and c.recorded_at < (${month} + interval '1 month') at time zone 'UTC'`.execute(
    db,
  )
  return rows[0]!.records
}

/** The table that a partition belongs to. */
const recordTable = (partition: string) => sql.table(`copilot_internal.${partition.replace(/_[0-9_]+$/, '')}`)

/** Lists the archives whose files are older than `years`. */
export async function listOutdatedArchives(db: Db, years: number): Promise<Archive[]> {
  const { rows } = await sql<Archive>`
    select ${columns} from copilot_internal.cost_archives a
    where a.state = 'archived' and a.ends_at + make_interval(years => ${years}) <= copilot_internal.clock_now()
    order by a.partition`.execute(db)
  return rows
}

/** Makes a past month read-only and stores its sums; false if there is no such partition. */
export async function closePartition(db: Db, partition: string): Promise<boolean> {
  const { rows } = await sql<{ closed: boolean }>`
    select copilot_internal.close_cost_partition(${partition}) as closed`.execute(db)
  return rows[0]!.closed
}

/** Reads the rows of a closed partition after the given one, as JSON text. */
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

/** Marks the file of a closed or restored month as read back and correct. */
export async function markVerified(db: Db, partition: string, contentSha256: string, file: string): Promise<void> {
  await sql`select copilot_internal.verify_archive(${partition}, ${contentSha256}, ${file})`.execute(db)
}

export async function markDeleted(db: Db, partition: string): Promise<void> {
  await sql`select copilot_internal.forget_archive(${partition})`.execute(db)
}

/** Deletes at most `rowsMax` idempotency keys of direct records from before the end of an archive's month. Returns how many. */
export async function deleteArchivedKeys(db: Db, { ends_at: endsAt }: Archive, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select copilot_internal.delete_record_keys(${endsAt}::timestamptz, ${rowsMax}) as deleted`.execute(db)
  return rows[0]!.deleted
}

/** Lists the archived or restored months for which `archived_usd` of some balance is not updated yet. */
export async function listUncarriedArchives(db: Db): Promise<string[]> {
  const { rows } = await sql<{ partition: string }>`
    select a.partition from copilot_internal.cost_archives a
    where a.carried_to <> case when a.state in ('archived', 'deleted') then 9223372036854775807 else 0 end
    order by a.partition`.execute(db)
  return rows.map(({ partition }) => partition)
}

/** Updates `archived_usd` of at most `rowsMax` balances after a month was archived or restored. Returns how many; 0 when done. */
export async function carryArchive(db: Db, partition: string, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ carried: number }>`
    select copilot_internal.carry_archive(${partition}, ${rowsMax}) as carried`.execute(db)
  return rows[0]!.carried
}

/** Drops a verified month from the database. Returns how many records it had. @throws 55P03 if other transactions hold its tables. */
export async function dropPartition(db: Db, partition: string): Promise<number> {
  const { rows } = await sql<{ records: string }>`
    select copilot_internal.drop_cost_partition(${partition}) as records`.execute(db)
  return Number(rows[0]!.records)
}

export async function prepareRestore(db: Db, partition: string): Promise<void> {
  await sql`select copilot_internal.prepare_restore(${partition})`.execute(db)
}

/** Inserts rows, given as JSON text, into the table of a restore. */
export async function loadArchivedRows(db: Db, partition: string, rows: string[]): Promise<void> {
  await sql`select copilot_internal.load_archived_records(${partition}, ${`[${rows.join(',')}]`}::json)`.execute(db)
}

/**
 * Attaches a restored month as a partition again, and keeps it for `keepDays` days. Returns how many records it has.
 * @throws 55P03 if other transactions hold the tables.
 */
export async function finishRestore(db: Db, partition: string, keepDays: number): Promise<number> {
  const { rows } = await sql<{ records: string }>`
    select copilot_internal.finish_restore(
      ${partition}, copilot_internal.clock_now() + make_interval(days => ${keepDays})) as records`.execute(db)
  return Number(rows[0]!.records)
}

/** Deletes reservations and keys that were settled more than `days` ago, at most `rowsMax` of each. Returns how many. */
export async function deleteSettled(db: Db, days: number, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select copilot_internal.delete_settled(
      copilot_internal.clock_now() - make_interval(days => ${days}), ${rowsMax}) as deleted`.execute(db)
  return rows[0]!.deleted
}

/**
 * Copies from reservations how and when they were priced to the cost records of early releases, which do not say it. Handles
 * at most `rowsMax` records. Returns how many it checked; 0 when all are done.
 */
export async function keepLineFacts(db: Db, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ looked: number }>`
    select copilot_internal.keep_line_facts(${rowsMax}) as looked`.execute(db)
  return rows[0]!.looked
}

/** Counts the reservations that delete_settled() would delete. */
export async function countSettled(db: Db, days: number): Promise<number> {
  const { rows } = await sql<{ settled: string }>`
    select count(*) as settled from copilot_internal.reservations r
    where r.settled_at < copilot_internal.clock_now() - make_interval(days => ${days})`.execute(db)
  return Number(rows[0]!.settled)
}

/** A tenant (user_id '') or user, for one resource type. */
export type ScopeKey = { resource_type: 'llm' | 'e2b'; tenant_id: string; user_id: string }

/** Lists tenants and users after the given one that were not used for `days`. `is_free`: nothing names them, so they may be retired. */
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

/** Deletes those of the scopes that are still idle, with the quotas that defaults gave them. Returns how many. @throws 55P03. */
export async function retireScopes(db: Db, days: number, scopes: ScopeKey[]): Promise<number> {
  const { rows } = await sql<{ retired: number }>`
    select copilot_internal.retire_scopes(
      ${scopes.map((scope) => scope.resource_type)}::copilot_internal.resource_type[], ${scopes.map((scope) => scope.tenant_id)}::text[],
      ${scopes.map((scope) => scope.user_id)}::text[], copilot_internal.clock_now() - make_interval(days => ${days})) as retired`.execute(
    db,
  )
  return rows[0]!.retired
}

/** Deletes at most `rowsMax` events older than `days` that nothing needs any more, with their deliveries. Returns how many. */
export async function deleteOldEvents(db: Db, days: number, rowsMax: number): Promise<number> {
  const { rows } = await sql<{ deleted: number }>`
    select copilot_internal.delete_old_events(
      copilot_internal.clock_now() - make_interval(days => ${days}), ${rowsMax}) as deleted`.execute(db)
  return rows[0]!.deleted
}

/** Counts the events that delete_old_events() would delete. */
export async function countDeletableEvents(db: Db, days: number): Promise<number> {
  const { rows } = await sql<{ deletable: string }>`
    select count(*) as deletable from copilot_internal.clock_now() now
    cross join lateral copilot_internal.deletable_events(now - make_interval(days => ${days}), now)`.execute(db)
  return Number(rows[0]!.deletable)
}
