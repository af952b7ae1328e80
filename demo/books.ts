import pg from 'pg'
import type { Call } from './api.ts'
import { subjectOf, type ResourceType } from './step.ts'

/** What the service has booked. Amounts are decimal text. */
export type Books = {
  source: string
  records: BookedCost[]
  balances: Balance[]
  /** The broken invariants of the books, if they could be checked. */
  broken: string[]
}

export type BookedCost = {
  costRecordId: string
  tenantId: string
  resourceType: ResourceType
  subject: string
  costUsd: string
}

type Balance = {
  tenantId: string
  resourceType: ResourceType
  spentUsd: string
  heldUsd: string
  /** The remaining amount that the service reports; null if it does not. */
  remainingUsd: string | null
}

const PAGE_ROWS = 500

type RecordAnswer = {
  cost_record_id: string
  tenant_id: string
  resource_type: ResourceType
  provider: string | null
  model: string | null
  tier: string | null
  cost_usd: string
}

/** Reads the books through the API. */
export async function readBooksByHttp(call: Call, tenantIds: readonly string[]): Promise<Books> {
  const books: Books = {
    source: 'GET /v1/cost-records and GET /v1/quotas/status',
    records: [],
    balances: [],
    broken: [],
  }
  for (const tenantId of tenantIds) {
    books.records.push(...(await readRecords(call, tenantId)))
    books.balances.push(...(await readBalances(call, tenantId)))
  }
  return books
}

async function readRecords(call: Call, tenantId: string): Promise<BookedCost[]> {
  const records: BookedCost[] = []
  let cursor: string | null = null
  do {
    const query = new URLSearchParams({ tenant_id: tenantId, limit: String(PAGE_ROWS), ...(cursor && { cursor }) })
    const page: { data: RecordAnswer[]; next_cursor: string | null } = await call(
      'GET',
      `/v1/cost-records?${query.toString()}`,
    )
    records.push(...page.data.map(bookedCost))
    cursor = page.next_cursor
  } while (cursor !== null)
  return records
}

function bookedCost(record: RecordAnswer): BookedCost {
  return {
    costRecordId: record.cost_record_id,
    tenantId: record.tenant_id,
    resourceType: record.resource_type,
    subject: record.resource_type === 'e2b' ? String(record.tier) : subjectOf(record),
    costUsd: record.cost_usd,
  }
}

async function readBalances(call: Call, tenantId: string): Promise<Balance[]> {
  type Status = {
    scope: string
    period: string
    resource_type: ResourceType
    spent_usd: string
    reserved_usd: string
    remaining_usd: string
  }
  const { data } = await call<{ data: Status[] }>('GET', `/v1/quotas/status?tenant_id=${tenantId}`, {
    // Bypass the cache.
    headers: { 'cache-control': 'no-cache' },
  })
  return data
    .filter(({ scope, period }) => scope === 'tenant' && period === 'total')
    .map((status) => ({
      tenantId,
      resourceType: status.resource_type,
      spentUsd: status.spent_usd,
      heldUsd: status.reserved_usd,
      remainingUsd: status.remaining_usd,
    }))
}

/** Reads the books from the tables, and checks their invariants. */
export async function readBooksBySql(databaseUrl: string, tenantIds: readonly string[]): Promise<Books> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows: records } = await client.query<RecordAnswer>(
      `select cost_record_id, tenant_id, 'llm' as resource_type, provider, model, null as tier, total_cost_usd as cost_usd
         from copilot_internal.llm_cost_records where tenant_id = any ($1)
       union all
       select cost_record_id, tenant_id, 'e2b', null, null, tier, total_cost_usd
         from copilot_internal.e2b_cost_records where tenant_id = any ($1)`,
      [tenantIds],
    )
    const { rows: balances } = await client.query<Balance>(
      `select tenant_id as "tenantId", resource_type as "resourceType", spent as "spentUsd", reserved as "heldUsd",
              null as "remainingUsd"
       from copilot_internal.quota_periods where scope = 'tenant' and period = 'total' and tenant_id = any ($1)`,
      [tenantIds],
    )
    const { rows: broken } = await client.query<{ invariant: string; subject: string; detail: string }>(
      'select * from copilot_internal.check_integrity()',
    )
    return {
      source: 'the tables of the database and check_integrity()',
      records: records.map(bookedCost),
      balances,
      broken: broken.map(({ invariant, subject, detail }) => `${invariant}: ${subject}: ${detail}`),
    }
  } finally {
    await client.end()
  }
}
