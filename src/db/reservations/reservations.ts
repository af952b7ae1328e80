import { sql, type RawBuilder } from 'kysely'
import { readForTenant, readReport, type Db } from '../pool/connection.ts'
import { instant } from '../costs/cost-records.ts'
import type { StoredReservation } from './reservation.ts'

/**
 * The ids of the cost records of `p.reservation`, oldest first. Follows the corrections back to the first record, then
 * forward to the last one.
 */
const chain = sql`array(
  with recursive earlier as (
    select (p.reservation).cost_record_id as id, 0 as steps
    union all
    select k.corrects, e.steps - 1 from earlier e join copilot_internal.record_corrections k on k.successor_id = e.id
  ),
  later as (
    (select e.id, null::uuid as reversal_id, e.steps from earlier e order by e.steps limit 1)
    union all
    select k.successor_id, k.reversal_id, l.steps + 1 from later l join copilot_internal.record_corrections k on k.corrects = l.id
  )
  select line.id from later l cross join lateral (values (l.reversal_id, 1), (l.id, 2)) line(id, n) order by l.steps, line.n)`

/** A reservation and the ids of its cost records, oldest first. */
export type ReservationWithLines = StoredReservation & { cost_record_ids: string[] }

type Row = { reservation: StoredReservation; cost_record_ids: string[] }

/** Selects reservations with the ids of their cost records from a relation whose only column is `reservation`. */
const withLines = (reservations: RawBuilder<unknown>) => sql<Row>`
  select copilot_internal.reservation_json(p.reservation) as reservation,
         array_remove(${chain}, null)::text[] as cost_record_ids
  from ${reservations} p`

/** Reads a reservation; null if there is none, or if it belongs to another tenant. @param tenantId null: of any tenant. */
export async function findReservation(
  db: Db,
  id: string,
  tenantId: string | null,
): Promise<ReservationWithLines | null> {
  const reservation = withLines(sql`(
    select r as reservation from copilot_internal.reservations r
    where r.reservation_id = ${id} and (${tenantId}::text is null or r.tenant_id = ${tenantId}))`)
  const { rows } = await readForTenant(db, tenantId, (reading) => reservation.execute(reading))
  return rows.map(withIds)[0] ?? null
}

/** Selects reservations; undefined fields are ignored. Times are microseconds since 1970-01-01T00:00:00Z. */
export type ReservationFilter = {
  equal: Partial<
    Record<
      | 'status'
      | 'resource_type'
      | 'tenant_id'
      | 'user_id'
      | 'conversation_id'
      | 'path_id'
      | 'provider'
      | 'model'
      | 'tier',
      string | undefined
    >
  >
  /** The reservation has each of these labels with this value. */
  labels: Record<string, string>
  /** Earliest creation time, inclusive. */
  fromMicros?: bigint | undefined
  /** Latest creation time, exclusive. */
  toMicros?: bigint | undefined
}

/** One page reads at most this many reservations, whatever its filter. */
const ROWS_READ_MAX = 250_000

/**
 * One page. If it is shorter than asked for, `readUntil` is the id after which the next page continues, or null if nothing
 * is left to read. `readUntil` is never the id of another tenant's reservation.
 */
type Found = { reservations: ReservationWithLines[]; readUntil: string | null }

/**
 * Lists at most `rowsMax` reservations after `afterId`, newest first. Ids are UUIDv7, so their order is the order of time.
 *
 * There is no index by tenant: one more index was measured to add a tenth to the time of each reservation and commit.
 * Instead, this reads the primary key backwards over at most `rowsReadMax` rows. If they are not enough to fill the page,
 * the next page continues from `readUntil`.
 */
export async function listReservations(
  db: Db,
  filter: ReservationFilter,
  afterId: string | null,
  rowsMax: number,
  rowsReadMax = ROWS_READ_MAX,
): Promise<Found> {
  const tenantId = filter.equal.tenant_id ?? null
  const behind = afterId === null ? sql`true` : sql`r.reservation_id < ${afterId}`
  // Row-level security hides other tenants' rows, so the tenant's own reader cannot count how many rows it passes over.
  const end = tenantId === null ? null : await readReport(db, null, (all) => readEnd(all, behind, rowsReadMax))
  // `end` is the real bound. The limit only makes Postgres use the primary key. It is doubled, so that it does not cut off
  // rows when more are inserted in between.
  const rowsRead = end === null ? rowsReadMax : 2 * rowsReadMax + end.alsoRead
  return readReport(db, tenantId, async (transaction) => {
    const { rows } = await sql<Row>`
      ${withLines(sql`(
        select r::copilot_internal.reservations as reservation
        from (
          select r.* from copilot_internal.reservations r
          where ${behind} and (${end?.id ?? null}::uuid is null or r.reservation_id >= ${end?.id ?? null})
          order by r.reservation_id desc
          limit ${rowsRead}) r
        where ${reservationMatches(filter)}
        order by r.reservation_id desc
        limit ${rowsMax})`)}
      order by (p.reservation).reservation_id desc`.execute(transaction)
    const reservations = rows.map(withIds)
    if (rows.length === rowsMax) return { reservations, readUntil: null }
    if (tenantId !== null) return { reservations, readUntil: end?.id ?? null }
    return { reservations, readUntil: await findLastRead(transaction, behind, rowsReadMax) }
  })
}

/**
 * Finds where a page of one tenant ends: at the start of the millisecond of the last reservation that it may read.
 *
 * The cursor in the answer must not reveal an id of another tenant. The id returned here belongs to no reservation, because
 * it lacks the version of a UUID.
 *
 * @returns null if the page reaches the end. `alsoRead` is how many more rows the page reads because of that millisecond.
 */
async function readEnd(
  db: Db,
  behind: RawBuilder<unknown>,
  rowsReadMax: number,
): Promise<{ id: string; alsoRead: number } | null> {
  const last = await findLastRead(db, behind, rowsReadMax)
  if (last === null) return null
  const id = `${last.slice(0, TIME_CHARACTERS)}-0000-0000-000000000000`
  const { rows } = await sql<{ n: string }>`
    select count(*) as n from copilot_internal.reservations r
    where r.reservation_id >= ${id} and r.reservation_id < ${last}`.execute(db)
  return { id, alsoRead: Number(rows[0]!.n) }
}

/** The first characters of a UUIDv7 as text: its milliseconds since 1970. */
const TIME_CHARACTERS = 13

/** Finds the last id that a page may read; null if the page reaches the end. */
async function findLastRead(db: Db, behind: RawBuilder<unknown>, rowsReadMax: number): Promise<string | null> {
  const { rows } = await sql<{ id: string }>`
    select r.reservation_id as id from copilot_internal.reservations r
    where ${behind}
    order by r.reservation_id desc
    offset ${rowsReadMax - 1} limit 1`.execute(db)
  return rows[0]?.id ?? null
}

function reservationMatches(filter: ReservationFilter): RawBuilder<unknown> {
  const conditions = [sql`true`]
  for (const [column, value] of Object.entries(filter.equal)) {
    if (value !== undefined) conditions.push(sql`${sql.ref(`r.${column}`)} = ${value}`)
  }
  if (Object.keys(filter.labels).length > 0) conditions.push(sql`r.labels @> ${JSON.stringify(filter.labels)}::jsonb`)
  if (filter.fromMicros !== undefined) conditions.push(sql`r.created_at >= ${instant(filter.fromMicros)}`)
  if (filter.toMicros !== undefined) conditions.push(sql`r.created_at < ${instant(filter.toMicros)}`)
  return sql.join(conditions, sql` and `)
}

function withIds({ reservation, cost_record_ids: ids }: Row): ReservationWithLines {
  return { ...reservation, cost_record_ids: ids }
}

/** What a reservation is for. Provider and model are null if the reservation named none. These fields never change. */
export type ReservationSubject = Pick<
  StoredReservation,
  'reservation_id' | 'resource_type' | 'tenant_id' | 'provider' | 'model'
>

/** Finds what each of these reservations is for, in the order of the ids; undefined for an id that does not exist. */
export async function findSubjects(db: Db, ids: string[]): Promise<(ReservationSubject | undefined)[]> {
  const { rows } = await sql<ReservationSubject>`
    select r.reservation_id, r.resource_type, r.tenant_id, r.provider, r.model
    from copilot_internal.reservations r
    where r.reservation_id = any (${ids}::uuid[])`.execute(db)
  const subjects = new Map(rows.map((subject) => [subject.reservation_id, subject]))
  return ids.map((id) => subjects.get(id))
}
