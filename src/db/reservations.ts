import { sql } from 'kysely'
import type { Db } from './connection.ts'
import type { StoredReservation } from './reservation.ts'

/** The lines of a reservation `r`: along its corrections to the first one, and from there to the last. */
const chain = sql`array(
  with recursive earlier as (
    select r.cost_record_id as id, 0 as steps
    union all
    select k.corrects, e.steps - 1 from earlier e join copilot_internal.record_corrections k on k.successor_id = e.id
  ),
  later as (
    (select e.id, null::uuid as reversal_id, e.steps from earlier e order by e.steps limit 1)
    union all
    select k.successor_id, k.reversal_id, l.steps + 1 from later l join copilot_internal.record_corrections k on k.corrects = l.id
  )
  select line.id from later l cross join lateral (values (l.reversal_id, 1), (l.id, 2)) line(id, n) order by l.steps, line.n)`

/** A reservation with the ids of its lines of cost, oldest first; null where there is none, or it is another tenant's. */
export async function findReservation(
  db: Db,
  id: string,
  tenantId: string | null,
): Promise<(StoredReservation & { cost_record_ids: string[] }) | null> {
  const { rows } = await sql<{ reservation: StoredReservation; cost_record_ids: string[] }>`
    select copilot_internal.reservation_json(r) as reservation, array_remove(${chain}, null)::text[] as cost_record_ids
    from copilot_internal.reservations r
    where r.reservation_id = ${id} and (${tenantId}::text is null or r.tenant_id = ${tenantId})`.execute(db)
  const [row] = rows
  return row === undefined ? null : { ...row.reservation, cost_record_ids: row.cost_record_ids }
}
