import type pg from 'pg'
import { uuidv7 } from 'uuidv7'
import { connect } from '../src/db/pool/connection.ts'
import { reserveSpend, type ReserveItem } from '../src/db/reservations/reserve-spend.ts'
import { rollUp } from '../src/services/costs/roll-up.ts'
import { TENANTS, USERS_PER_TENANT } from './database.ts'
import { say } from './stage.ts'

/** Rows of one statement. */
const STEP = 100_000
const SCOPES_STEP = 5_000
const HOLDS_STEP = 250
const PROGRESS_SECONDS = 10

/** Fills a prepared database for the scenario `growth`. Answers its size as text. */
export async function fillDatabase(
  url: string,
  pool: pg.Pool,
  { quotas, settled, records, holds }: Record<'quotas' | 'settled' | 'records' | 'holds', number>,
): Promise<string> {
  await inSteps('quotas', quotas, SCOPES_STEP, (from, to) =>
    pool.query(
      `select copilot_internal.prepare_scopes(array_agg('llm'::copilot_internal.resource_type), array_agg('g-' || n), array_agg(''::text), now())
       from generate_series($1::integer, $2::integer) n`,
      [from, to - 1],
    ),
  )
  await inSteps('settled reservations', settled, STEP, (from, to) =>
    pool.query(
      `insert into copilot_internal.reservations (reservation_id, status, resource_type, tenant_id, user_id, principal, idempotency_key,
         request_hash, provider, model, estimate, reserved_usd, on_expiry, created_at, granted_at, expires_at, quota_period_ids,
         periods_end_at, settled_at, released_usd, release_reason)
       select copilot_internal.uuid_v7(at), 'released', 'llm', 't-' || 1 + n % $4::integer, 'u-' || 1 + n % $5::integer, 'bench', 'old-' || n,
              sha256(n::text::bytea), 'openai', 'gpt-6.1-sol', '{"input_tokens": 1200, "max_output_tokens": 200}', 0.0043, 'release', at, at,
              at + interval '2 minutes', '{}', at + interval '1 day', at + interval '3 seconds', 0.0043, 'cancelled'
       from generate_series($1::integer, $2::integer) n
       cross join lateral (select now() - interval '25 days' + n * (interval '24 days' / $3::integer) as at) t`,
      [from, to - 1, settled, TENANTS, USERS_PER_TENANT],
    ),
  )
  for (let month = 0; month < 3; month += 1) {
    await pool.query(
      `select copilot_internal.ensure_cost_partitions((date_trunc('month', now()) - $1::integer * interval '1 month')::date)`,
      [month],
    )
  }
  const db = connect(url, { statementMs: 600_000 })
  await inSteps('cost records', records, STEP, async (from, to) => {
    await pool.query(
      `insert into copilot_internal.llm_cost_records (cost_record_id, tenant_id, user_id, conversation_id, provider, model, usage,
         input_tokens, output_tokens, total_cost_usd, quota_period_ids, occurred_at, booked_at, recorded_at)
       select copilot_internal.uuid_v7(at), 't-' || 1 + n % $4::integer, 'u-' || 1 + n % $5::integer, 'c-' || n / 5, 'openai', 'm-' || n % 10,
              '{"input_tokens": 1200, "output_tokens": 300}', 1200, 300, (n % 9973) * 0.000001, '{}', at, at, at
       from generate_series($1::integer, $2::integer) n
       cross join lateral (select now() - interval '50 days' + n * (interval '15 days' / $3::integer) as at) t`,
      [from, to - 1, records, TENANTS, USERS_PER_TENANT],
    )
    await rollUp({ db }, new AbortController().signal)
  })
  await inSteps('open holds', holds, HOLDS_STEP, (from, to) => {
    const items = Array.from({ length: to - from }, (_, n) => ({
      ...holdOf(`t-${1 + ((from + n) % TENANTS)}`, `u-${1 + ((from + n) % USERS_PER_TENANT)}`),
      idempotency_key: `open-${from + n}`,
      ttl_seconds: 86_400,
    }))
    return reserveSpend(db, items, 'enforce')
  })
  await db.destroy()
  say('vacuum analyze')
  await pool.query('vacuum analyze')
  const { rows } = await pool.query<{ size: string }>(
    'select pg_size_pretty(pg_database_size(current_database())) as size',
  )
  return rows[0]!.size
}

/** A hold for `reserve_spend()` that the caller settles within ten minutes. */
export function holdOf(tenantId: string, userId: string): ReserveItem {
  return {
    ...{ reservation_id: uuidv7(), resource_type: 'llm', tenant_id: tenantId, user_id: userId },
    ...{ conversation_id: null, path_id: null, labels: {}, principal: 'bench', idempotency_key: null },
    ...{ request_hash: '\\x00', estimate: { estimated_cost_usd: '0.0043' }, price_id: null, amount_usd: '0.0043' },
    ...{ fixed_usd: '0', per_unit_usd: '0', caps_name: null, on_expiry: 'release', ttl_seconds: 600, is_free: false },
  }
}

async function inSteps(
  what: string,
  total: number,
  step: number,
  work: (from: number, to: number) => Promise<unknown>,
): Promise<void> {
  const begun = performance.now()
  let saidAfter = 0
  for (let from = 0; from < total; from += step) {
    const to = Math.min(from + step, total)
    await work(from, to)
    const seconds = (performance.now() - begun) / 1000
    if (seconds - saidAfter < PROGRESS_SECONDS && to < total) continue
    saidAfter = seconds
    say(`${to} of ${total} ${what} after ${seconds.toFixed(0)} s`)
  }
}
