import { rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  carryArchive,
  closePartition,
  countPartition,
  countSettled,
  countDeletableEvents,
  deleteArchivedKeys,
  deleteSettled,
  deleteOldEvents,
  dropPartition,
  findArchive,
  finishRestore,
  keepLineFacts,
  listExpiredPartitions,
  listIdleScopes,
  listOutdatedArchives,
  listUncarriedArchives,
  loadArchivedRows,
  markDeleted,
  markVerified,
  prepareRestore,
  readPartitionRows,
  retireScopes,
  type Archive,
  type ScopeKey,
} from '../../db/archives/archives.ts'
import type { Db } from '../../db/pool/connection.ts'
import { isLockTimeout } from '../../db/pool/faults.ts'
import { closeArchiveFolder } from './archive-folder.ts'
import { readArchive, writeArchive, writeManifest, type Content } from './archive-file.ts'

export type RetentionSettings = {
  archiveDir: string
  retentionDays: number
  archiveYears: number
  reservationDays: number
  eventDays: number
}

/** `db`: connections whose statements may take minutes, because a month of records is read at once. */
export type Retention = RetentionSettings & { db: Db }

/** Longest time for a statement over a month of records. */
export const RETENTION_STATEMENT_MS = 1_800_000
const ROWS_MAX = 1_000
const SETTLED_ROWS_MAX = 5_000
/** Tenants and users checked by one statement. Each statement reads what they have booked and held. */
const IDLE_SCOPES_MAX = 10_000
/** Tenants and users retired in one transaction. Decisions wait for it. */
const RETIRED_SCOPES_MAX = 100
/**
 * A step that needs exclusive locks on the record tables is tried at most this often, with this pause. During an attempt
 * readers and bookings wait for at most half a second.
 */
const LOCK_TRIES_MAX = 30
const LOCK_PAUSE_MS = 1_000
/** Default number of days for which a restored month is kept before it is archived again. */
export const KEEP_DAYS = 7

/**
 * What a run did or would do: the archived months, the deleted files, and the numbers of deleted settled reservations,
 * deleted events, and retired tenants and users (by resource type) that only a default named.
 */
export type RetentionReport = {
  archived: { partition: string; records: number }[]
  deleted_files: string[]
  deleted_settled: number
  deleted_events: number
  retired_scopes: number
  /** The steps that failed, and why. All other steps were done. */
  failed: { what: string; reason: string }[]
}

/** Reports what a run would do now. Changes nothing, but reads every month that would be archived. */
export async function planRetention(retention: Retention): Promise<RetentionReport> {
  const { db } = retention
  const outdated = await listOutdatedArchives(db, retention.archiveYears)
  const archived: RetentionReport['archived'] = []
  for (const partition of await listExpiredPartitions(db, retention.retentionDays)) {
    archived.push({ partition, records: await countPartition(db, partition) })
  }
  let retiredScopes = 0
  for await (const scopes of freeScopes(retention)) retiredScopes += scopes.length
  return {
    archived,
    deleted_files: outdated.map(({ partition }) => partition),
    deleted_settled: await countSettled(db, retention.reservationDays),
    deleted_events: await countDeletableEvents(db, retention.eventDays),
    retired_scopes: retiredScopes,
    failed: [],
  }
}

/**
 * Applies the retention settings, step by step:
 * - deletes settled reservations and keys, deletable events, and idle tenants and users that only a default named;
 * - moves months of records older than `retentionDays` into files, and deletes files older than `archiveYears`.
 *
 * Safe to interrupt: the next run continues. A month leaves the database only after its file was read back with the right
 * number of records and sum. A step that fails is reported and does not stop the other steps, except that no file is written
 * or deleted if the archive folder cannot be closed to other users.
 */
export async function keepRetention(retention: Retention, signal: AbortSignal): Promise<RetentionReport> {
  const report: RetentionReport = {
    archived: [],
    deleted_files: [],
    deleted_settled: 0,
    deleted_events: 0,
    retired_scopes: 0,
    failed: [],
  }
  const attempt = async (what: string, step: () => Promise<unknown>): Promise<void> => {
    if (signal.aborted) return
    try {
      await step()
    } catch (error) {
      report.failed.push({ what, reason: error instanceof Error ? error.message : String(error) })
    }
  }
  for (const partition of await listUncarriedArchives(retention.db)) {
    await attempt(`the balances of ${partition}`, () => carry(retention.db, partition))
  }
  await attempt('settled reservations', async () => {
    for (let checked = 1; checked > 0;) {
      if (signal.aborted) return
      checked = await keepLineFacts(retention.db, SETTLED_ROWS_MAX)
    }
    for (let deleted = 1; deleted > 0 && !signal.aborted;) {
      deleted = await deleteSettled(retention.db, retention.reservationDays, SETTLED_ROWS_MAX)
      report.deleted_settled += deleted
    }
  })
  await attempt('events', async () => {
    for (let deleted = 1; deleted > 0 && !signal.aborted;) {
      deleted = await deleteOldEvents(retention.db, retention.eventDays, ROWS_MAX)
      report.deleted_events += deleted
    }
  })
  await attempt('idle tenants and users', async () => {
    for await (const scopes of freeScopes(retention)) {
      for (let first = 0; first < scopes.length && !signal.aborted; first += RETIRED_SCOPES_MAX) {
        const some = scopes.slice(first, first + RETIRED_SCOPES_MAX)
        report.retired_scopes += await onceFree(() => retireScopes(retention.db, retention.retentionDays, some))
      }
    }
  })
  let isClosed = false
  await attempt('the folder of archives', async () => {
    await closeArchiveFolder(retention.archiveDir)
    isClosed = true
  })
  if (!isClosed) return report
  for (const partition of await listExpiredPartitions(retention.db, retention.retentionDays)) {
    await attempt(partition, async () => {
      report.archived.push({ partition, records: await archivePartition(retention, partition) })
    })
  }
  for (const { partition, file } of await listOutdatedArchives(retention.db, retention.archiveYears)) {
    await attempt(`the file of ${partition}`, async () => {
      const path = join(retention.archiveDir, file!)
      await rm(path, { force: true })
      await rm(path.replace(/\.jsonl\.gz$/, '.manifest.json'), { force: true })
      await markDeleted(retention.db, partition)
      report.deleted_files.push(partition)
    })
  }
  return report
}

/** Finds, page by page, the tenants and users that were not used for `retentionDays` and that nothing names. */
async function* freeScopes({ db, retentionDays }: Retention): AsyncGenerator<ScopeKey[]> {
  // Start before the first tenant of the first type in the order of Postgres's enum.
  let last: ScopeKey | undefined = { resource_type: 'llm', tenant_id: '', user_id: '' }
  while (last !== undefined) {
    const idle: (ScopeKey & { is_free: boolean })[] = await listIdleScopes(db, retentionDays, last, IDLE_SCOPES_MAX)
    yield idle.filter(({ is_free: isFree }) => isFree)
    last = idle.length === IDLE_SCOPES_MAX ? idle.at(-1) : undefined
  }
}

/** Moves one month into a file. Returns how many records. @throws Error, with the month still in the database, if the file is wrong. */
async function archivePartition({ db, archiveDir }: Retention, partition: string): Promise<number> {
  await closePartition(db, partition)
  const expected = (await findArchive(db, partition))!
  const file = join(archiveDir, `${partition}.jsonl.gz`)
  const found = await writeArchive(file, rowsOf(db, expected), ROWS_MAX, (content) =>
    checkArchiveContent(partition, expected, content),
  )
  await writeManifest(file, { partition, ...found })
  while ((await deleteArchivedKeys(db, expected, SETTLED_ROWS_MAX)) > 0);
  await markVerified(db, partition, found.content_sha256, basename(file))
  const records = await onceFree(() => dropPartition(db, partition))
  await carry(db, partition)
  return records
}

/** Updates `archived_usd` of the balances after a month was archived or restored, also after an interrupted run. */
async function carry(db: Db, partition: string): Promise<void> {
  while ((await carryArchive(db, partition, ROWS_MAX)) > 0);
}

/** Retries work that needs exclusive locks, up to LOCK_TRIES_MAX times, while other transactions hold the tables. */
async function onceFree<Answer>(work: () => Promise<Answer>): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work()
    } catch (error) {
      if (!isLockTimeout(error) || tries === LOCK_TRIES_MAX) throw error
    }
    await sleep(LOCK_PAUSE_MS)
  }
}

async function* rowsOf(db: Db, archive: Archive): AsyncGenerator<string> {
  for (let after: { recordedAt: string; recordId: string } | null = null; ;) {
    const rows = await readPartitionRows(db, archive, after, ROWS_MAX)
    for (const { row } of rows) yield row
    const last = rows.at(-1)
    if (last === undefined || rows.length < ROWS_MAX) return
    after = { recordedAt: last.recorded_at, recordId: last.cost_record_id }
  }
}

function checkArchiveContent(partition: string, expected: Omit<Content, 'content_sha256'>, found: Content): void {
  if (found.records !== expected.records || found.cost_usd !== expected.cost_usd) {
    throw new Error(
      `The file of ${partition} has ${found.records} records and ${found.cost_usd} USD instead of ${expected.records} and ${expected.cost_usd}`,
    )
  }
}

/**
 * Restores an archived month from its file for `keepDays` days. Returns how many records. If a restore is interrupted, the
 * month stays archived; start it again.
 * @throws Error if the month is not archived, or if its file is not the one that was verified.
 */
export async function restorePartition(
  { db, archiveDir }: Pick<Retention, 'db' | 'archiveDir'>,
  partition: string,
  keepDays: number,
): Promise<number> {
  const archive = await findArchive(db, partition)
  // An earlier restore was interrupted when only the balances were left to update.
  if (archive?.state === 'restored' && (await listUncarriedArchives(db)).includes(partition)) {
    await carry(db, partition)
    return archive.records
  }
  if (archive?.state !== 'archived')
    throw new Error(`${partition} is ${archive?.state ?? 'not in the list of archives'}`)
  const file = join(archiveDir, archive.file!)
  const found = await readArchive(file, ROWS_MAX, async () => {})
  if (found.content_sha256 !== archive.content_sha256)
    throw new Error(`${file} is not the file that was archived: its hash differs`)
  checkArchiveContent(partition, archive, found)
  await prepareRestore(db, partition)
  await readArchive(file, ROWS_MAX, (rows) => loadArchivedRows(db, partition, rows))
  const records = await onceFree(() => finishRestore(db, partition, keepDays))
  await carry(db, partition)
  return records
}
