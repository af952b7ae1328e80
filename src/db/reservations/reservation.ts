/** A reservation as reservation_json() returns it: amounts as decimal text, times in Postgres's text form. */
export type StoredReservation = {
  reservation_id: string
  status: 'reserved' | 'committed' | 'released' | 'expired'
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  path_id: string | null
  labels: Record<string, string>
  provider: string | null
  model: string | null
  /** The model whose rate card priced the hold; null if the caller gave the amount. */
  priced_model: string | null
  service_tier: string | null
  region: string | null
  tier: string | null
  vcpu: string | null
  memory_mib: number | null
  estimate: Record<string, unknown>
  reserved_usd: string
  price_id: number | null
  caps: Record<string, number> | null
  on_expiry: 'release' | 'charge'
  created_at: string
  expires_at: string
  settled_at: string | null
  release_reason: string | null
  cost_usd: string | null
  cost_record_id: string | null
  released_usd: string | null
  late: boolean | null
  estimated: boolean | null
  commit_price_id: number | null
}
