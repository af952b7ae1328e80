import { stringify } from 'csv-stringify/sync'
import type { ExportForm } from '../domain/export-row.ts'

const COLUMNS = [
  ...[
    'cost_record_id',
    'reservation_id',
    'resource_type',
    'tenant_id',
    'user_id',
    'conversation_id',
    'path_id',
    'labels',
  ],
  ...['provider', 'model', 'tier', 'usage', 'cost_usd', 'price_id', 'occurred_at', 'recorded_at'],
  ...['late', 'overrun', 'estimated', 'corrects'],
] as const

/** Writes CSV lines as in RFC 4180. Null is an empty field; an empty text is quoted. */
export function csvLines(rows: unknown[][]): string {
  return stringify(rows, {
    record_delimiter: 'windows',
    quoted_empty: false,
    quoted_match: /^$/,
    cast: { boolean: String },
  })
}

/** Content types as registered by RFC 4180. */
export const CSV_TYPES = {
  contentType: 'text/csv; charset=utf-8; header=present',
  restContentType: 'text/csv; charset=utf-8; header=absent',
}

/** The fields of a cost record with the names of GET /v1/cost-records. `labels` and `usage` are JSON. */
export const CSV: ExportForm = {
  ...CSV_TYPES,
  header: csvLines([[...COLUMNS]]),
  write: (rows) => csvLines(rows.map((row) => COLUMNS.map((column) => row[column]))),
}
