import { join } from 'node:path'
import type { Config } from '../config.ts'
import { defaultDataDir } from './data-dir.ts'

/** What is kept how long, and where archives are: beside the data of the embedded Postgres, unless a folder is named. */
export function retentionSettings(config: Config) {
  return {
    archiveDir: config.PURSER_ARCHIVE_DIR ?? join(config.PURSER_DATA_DIR ?? defaultDataDir(), 'archive'),
    retentionDays: config.PURSER_RETENTION_DAYS,
    archiveYears: config.PURSER_ARCHIVE_YEARS,
    reservationDays: config.PURSER_RESERVATION_DAYS,
    eventDays: config.PURSER_EVENT_DAYS,
  }
}
