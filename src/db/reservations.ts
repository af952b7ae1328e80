import { sql } from 'kysely'
import type { Db } from './connection.ts'
import type { StoredReservation } from './reservation.ts'

/** A reservation with the ids of its lines of cost, oldest first; null where there is none, or it is another tenant's. */
export async function findReservation(
  db: Db,
  id: string,
  tenantId: string | null,
): Promise<(StoredReservation & { cost_record_ids: string[] }) | null> {
  const { rows } = await sql<{ reservation: StoredReservation; cost_record_ids: string[] }>`
    select copilot_internal.reservation_json(r) as reservation,
           array_remove(array[k.corrects, k.reversal_id, r.cost_record_id], null)::text[] as cost_record_ids
    from copilot_internal.reservations r
    left join copilot_internal.record_corrections k on k.successor_id = r.cost_record_id
    where r.reservation_id = ${id} and (${tenantId}::text is null or r.tenant_id = ${tenantId})`.execute(db)
  const [row] = rows
  return row === undefined ? null : { ...row.reservation, cost_record_ids: row.cost_record_ids }
}
