import { join } from 'node:path'
import type { Config } from '../config.ts'
import { defaultDataDir } from './data-dir.ts'

/** How long each kind of data is kept, and the folder of archives: beside the embedded Postgres, unless one is set. */
export function retentionSettings(config: Config) {
  return {
    archiveDir: config.PURSER_ARCHIVE_DIR ?? join(config.PURSER_DATA_DIR ?? defaultDataDir(), 'archive'),
    retentionDays: config.PURSER_RETENTION_DAYS,
    archiveYears: config.PURSER_ARCHIVE_YEARS,
    reservationDays: config.PURSER_RESERVATION_DAYS,
    eventDays: config.PURSER_EVENT_DAYS,
  }
}
