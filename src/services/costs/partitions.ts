import type { Db } from '../../db/pool/connection.ts'
import { prepareCostPartitions } from '../../db/costs/rollups.ts'

/** Partitions of cost records are made this long before their months begin. */
const MONTHS_AHEAD = 3

/** Makes the partitions that records of the coming months go to, so that no booking waits for one at a month's end. */
export function preparePartitions({ db }: { db: Db }): Promise<void> {
  return prepareCostPartitions(db, MONTHS_AHEAD)
}
