import { randomUUID } from 'node:crypto'
import type pg from 'pg'

/** A cost record as a test writes it; numerics are decimal text. Omitted fields are null or have a simple default. */
export interface CostLine {
  cost_record_id?: string
  reservation_id?: string | null
  resource_type?: 'llm' | 'e2b'
  tenant_id: string
  user_id?: string | null
  conversation_id?: string | null
  path_id?: string | null
  labels?: Record<string, string>
  provider?: string | null
  model?: string | null
  tier?: string | null
  /** JSON text, so that its digits stay as the test wrote them. */
  usage?: string
  input_tokens?: string | null
  output_tokens?: string | null
  seconds?: string | null
  cost_usd: string
  price_id?: number | null
  occurred_at: string
  /** By default the time at which it occurred. */
  recorded_at?: string
  late?: boolean
  overrun?: boolean
  estimated?: boolean
  corrects?: string | null
}

/** Inserts cost records directly, in one transaction, and returns their ids. No balance counts them. */
export async function insertCostLines(pool: pg.Pool, lines: CostLine[]): Promise<string[]> {
  const rows = lines.map((line) => ({
    cost_record_id: randomUUID(),
    resource_type: 'llm',
    labels: {},
    usage: '{}',
    recorded_at: line.occurred_at,
    late: false,
    overrun: false,
    estimated: false,
    ...line,
  }))
  const shared = `cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, usage,
    total_cost_usd, price_id, occurred_at, booked_at, recorded_at, late, overrun, estimated, corrects, quota_period_ids`
  const values = `cost_record_id, reservation_id, tenant_id, user_id, conversation_id, path_id, labels, usage::jsonb,
    cost_usd, price_id, occurred_at, occurred_at, recorded_at, late, overrun, estimated, corrects, '{}'`
  const read = `from json_to_recordset($1) as l (cost_record_id uuid, reservation_id uuid, resource_type text, tenant_id text,
    user_id text, conversation_id text, path_id text, labels jsonb, provider text, model text, tier text, usage text,
    input_tokens bigint, output_tokens bigint, seconds numeric, cost_usd numeric, price_id bigint, occurred_at timestamptz,
    recorded_at timestamptz, late boolean, overrun boolean, estimated boolean, corrects uuid)`
  const client = await pool.connect()
  try {
    await client.query('begin')
    for (const recordedAt of new Set(rows.map((row) => row.recorded_at))) {
      await client.query('select copilot_internal.ensure_cost_partitions($1)', [recordedAt])
    }
    const text = JSON.stringify(rows)
    await client.query(
      `insert into copilot_internal.llm_cost_records (${shared}, provider, model, input_tokens, output_tokens)
       select ${values}, provider, model, input_tokens, output_tokens ${read} where resource_type = 'llm'`,
      [text],
    )
    await client.query(
      `insert into copilot_internal.e2b_cost_records (${shared}, tier, execution_time_seconds)
       select ${values}, tier, seconds ${read} where resource_type = 'e2b'`,
      [text],
    )
    await client.query('commit')
    client.release()
  } catch (error) {
    client.release(true)
    throw error
  }
  return rows.map((row) => row.cost_record_id)
}

/** JSON with each number as its original text. */
export function parseDigits(text: string): unknown {
  return JSON.parse(text, (_key, value, { source }) => (typeof value === 'number' ? source : value))
}
