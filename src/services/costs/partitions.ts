import type { Db } from '../../db/pool/connection.ts'
import { prepareCostPartitions } from '../../db/costs/rollups.ts'

/** Partitions of cost records are created this many months ahead. */
const MONTHS_AHEAD = 3

/** Creates the partitions for the records of the coming months, so that no booking waits for one when a month begins. */
export function preparePartitions({ db }: { db: Db }): Promise<void> {
  return prepareCostPartitions(db, MONTHS_AHEAD)
}
