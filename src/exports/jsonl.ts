import { exactJson } from '../domain/exact-json.ts'
import type { ExportForm, ExportRow } from '../domain/export-row.ts'

const TYPE = 'application/x-ndjson; charset=utf-8'

/** One JSON object per line, with the fields of GET /v1/cost-records. */
export const JSON_LINES: ExportForm = {
  contentType: TYPE,
  restContentType: TYPE,
  header: '',
  write: (rows) => rows.map((row) => `${JSON.stringify(recordOf(row))}\n`).join(''),
}

function recordOf({ region: _, sandbox_id: __, total_tokens: ___, seconds: ____, ...row }: ExportRow): object {
  return {
    ...row,
    labels: exactJson(row.labels),
    usage: exactJson(row.usage),
    cost_usd: JSON.rawJSON(row.cost_usd),
    price_id: row.price_id === null ? null : JSON.rawJSON(row.price_id),
  }
}
