import { sql, type RawBuilder } from 'kysely'
import { readForTenant, readReport, type Db } from '../pool/connection.ts'
import { instant } from '../costs/cost-records.ts'
import type { StoredReservation } from './reservation.ts'

/** The lines of the reservation `p.reservation`: along its corrections to the first one, and from there to the last. */
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

/** With the ids of its lines of cost, oldest first. */
export type ReservationWithLines = StoredReservation & { cost_record_ids: string[] }

type Row = { reservation: StoredReservation; cost_record_ids: string[] }

/** The reservations of a relation of rows `reservation`, with their lines of cost. */
const withLines = (reservations: RawBuilder<unknown>) => sql<Row>`
  select copilot_internal.reservation_json(p.reservation) as reservation,
         array_remove(${chain}, null)::text[] as cost_record_ids
  from ${reservations} p`

/** A reservation; null where there is none, or it is another tenant's. */
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

/** Which reservations; what is undefined is not asked for. Times are microseconds since 1970-01-01T00:00:00Z. */
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
  /** Each of these labels with this value. */
  labels: Record<string, string>
  /** When it was created: inclusive. */
  fromMicros?: bigint | undefined
  /** When it was created: exclusive. */
  toMicros?: bigint | undefined
}

/** A page looks through so many reservations at most, whatever it asks for. */
const ROWS_READ_MAX = 250_000

/** What was found. `readUntil`: the next page begins after it; null where nothing more is to be found. Not an id of another tenant's. */
type Found = { reservations: ReservationWithLines[]; readUntil: string | null }

/**
 * Reservations behind `afterId`, at most `rowsMax`, the newest first: by their ids, which are made in the order of time. There
 * is no index by tenant: measured, one more would cost each reservation and each commit a tenth of its time. So the
 * primary key is read backwards, over `rowsReadMax` rows at most; where they are not enough, the next page goes on.
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
  // The reader sees one tenant's rows, so it cannot count what it passes over.
  const end = tenantId === null ? null : await readReport(db, null, (all) => readEnd(all, behind, rowsReadMax))
  // `end` is the bound; a limit behind it keeps Postgres on the primary key, and cuts nothing that comes in meanwhile.
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
 * Where a page of one tenant ends: before the first id of the millisecond in which the id stands that it looks at last. That
 * one may be another tenant's, and goes into the answer as a cursor; this is nobody's, as it lacks the version of a UUID.
 *
 * @returns null where the page comes to the end; `alsoRead`: how many more it reads, those of that millisecond.
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

/** Of a UUIDv7 as text: its milliseconds since 1970. */
const TIME_CHARACTERS = 13

/** The id that a page looks at last; null where it comes to the end. */
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

/** What a reservation is about; its provider and model are null where it named none. These never change. */
export type ReservationSubject = Pick<
  StoredReservation,
  'reservation_id' | 'resource_type' | 'tenant_id' | 'provider' | 'model'
>

/** What each of these reservations is about; undefined for an id that does not exist. */
export async function findSubjects(db: Db, ids: string[]): Promise<(ReservationSubject | undefined)[]> {
  const { rows } = await sql<ReservationSubject>`
    select r.reservation_id, r.resource_type, r.tenant_id, r.provider, r.model
    from copilot_internal.reservations r
    where r.reservation_id = any (${ids}::uuid[])`.execute(db)
  const subjects = new Map(rows.map((subject) => [subject.reservation_id, subject]))
  return ids.map((id) => subjects.get(id))
}
