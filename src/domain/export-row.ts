/**
 * A cost record as exports write it. Numerics are decimal text, `usage` and `labels` are JSON text, times are RFC
 * 3339 in UTC.
 */
export type ExportRow = {
  cost_record_id: string
  reservation_id: string | null
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  path_id: string | null
  labels: string
  provider: string | null
  model: string | null
  tier: string | null
  usage: string
  cost_usd: string
  price_id: string | null
  occurred_at: string
  recorded_at: string
  late: boolean
  overrun: boolean
  estimated: boolean
  corrects: string | null
  region: string | null
  sandbox_id: string | null
  total_tokens: string | null
  seconds: string | null
}

/** An export format: a header, and a function that writes rows as text with a line end after each. */
export type ExportForm = {
  contentType: string
  /** The content type of a continued export, which has no header. */
  restContentType: string
  header: string
  write: (rows: ExportRow[]) => string
}
