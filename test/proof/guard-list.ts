import { globSync } from 'node:fs'
import { join } from 'node:path'

/** One guard of the money: its text, and the tests that must detect its removal. */
export interface Guard {
  name: string
  /** What goes wrong without the guard. */
  why: string
  file: string
  /** The text to remove; the file contains it exactly once. */
  remove: string
  put: string
  tests: string[]
}

const BALANCES = 'test/sql/balances.test.ts'
const LOCKS = 'test/sql/locks.test.ts'
const PLANS = 'test/sql/plans.test.ts'
const BATCHES = 'test/db/batches.test.ts'
const MODEL = 'test/proof/model.test.ts'
const FREE_PRICES = 'test/http/prices/free-prices.test.ts'
const CEILING = 'test/http/costs/record-ceiling.test.ts'
const SAME_REQUESTS = 'test/http/reservations/same-requests.test.ts'
const UNREAD_USAGE = 'test/http/reservations/unread-usage.test.ts'
const CONCURRENCY = 'test/http/reservations/concurrency.test.ts'

/** The file of a SQL function, in whichever folder it is. */
function functionFile(name: string): string {
  const root = join(import.meta.dirname, '..', '..')
  return globSync(`migrations/functions/**/${name}.sql`, { cwd: root })[0] ?? `no file of the function ${name}`
}

/** A guard of a function in migrations/functions. */
const inFunction = (name: string, text: string, put = '') => ({
  file: functionFile(name),
  remove: text,
  put,
})

const ALIASES = 'test/sql/aliases.test.ts'
const LINES = 'test/sql/standalone-lines.test.ts'
const IDLE_SCOPES = 'test/sql/idle-scopes.test.ts'
const TENANT_READS = 'test/db/tenant-reads.test.ts'
const ROLES = 'test/sql/roles.test.ts'

export const GUARDS: Guard[] = [
  {
    name: 'alias moves from now on',
    why: 'moving an alias changes the price of open holds and of past records',
    ...inFunction(
      'set_model_aliases',
      'then greatest(v_new.effective_date, p_now) else',
      'then v_new.effective_date else',
    ),
    tests: [ALIASES],
  },
  {
    name: 'model takes an alias from now on',
    why: 'a new model with the name of an alias changes the price of holds made under that alias',
    ...inFunction('set_model_aliases', 'greatest(min(m.effective_date), p_now)', 'min(m.effective_date)'),
    tests: [ALIASES],
  },
  {
    name: 'facts of old cost records',
    why: 'deleting a reservation also deletes the facts that priced its cost record from an early release',
    ...inFunction('delete_settled', 'where not w.is_done', 'where false'),
    tests: [LINES],
  },
  {
    name: 'price date of a cost record',
    why: 'a correction uses the rates of another day',
    ...inFunction('correct_record', '  v_priced_at := v_line.priced_at;', '  v_priced_at := v_line.occurred_at;'),
    tests: [LINES],
  },
  {
    name: 'pinned plan',
    why: 'a hash join locks balances in an arbitrary order',
    ...inFunction('pin_plans', " || array['enable_hashjoin=off', 'enable_mergejoin=off']"),
    tests: [PLANS],
  },
  {
    name: 'lock order of reservations',
    why: 'two commits of the same holds in opposite orders deadlock',
    ...inFunction(
      'commit_spend',
      'v_ids := array(select distinct i.reservation_id from unnest(v_items) i order by i.reservation_id);',
      'v_ids := array(select i.reservation_id from unnest(v_items) i);',
    ),
    tests: [LOCKS],
  },
  {
    name: 'lock order of keys',
    why: 'two batches with the same keys in opposite orders deadlock',
    ...inFunction('reserve_spend', '    order by i.principal, i.tenant_id, i.idempotency_key, i.ordinality\n'),
    tests: [LOCKS],
  },
  {
    name: 'lock order of tenants with one key',
    why: 'two batches with the same key of several tenants in opposite orders deadlock',
    ...inFunction(
      'reserve_spend',
      'order by i.principal, i.tenant_id, i.idempotency_key, i.ordinality\n',
      'order by i.principal, i.idempotency_key, i.ordinality\n',
    ),
    tests: [LOCKS],
  },
  {
    name: 'shared lock of decisions',
    why: 'a decision uses a limit while it is being changed',
    ...inFunction('reserve_spend', 'perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());'),
    tests: [LOCKS],
  },
  {
    name: 'exclusive lock of quota changes',
    why: 'the opening balance of a new quota misses money that is being booked meanwhile',
    ...inFunction('set_quotas', 'perform pg_advisory_xact_lock(copilot_internal.quota_lock());'),
    tests: [LOCKS],
  },
  {
    name: 'cutoff of an opening sum',
    why: 'a new quota never counts the costs that were being booked while its opening was summed',
    ...inFunction('booking_cutoff', 'perform pg_advisory_xact_lock(copilot_internal.quota_lock());'),
    tests: [LOCKS],
  },
  {
    name: 'exclusive end of an opening sum',
    why: 'a new quota counts the costs booked exactly at the cutoff twice',
    ...inFunction('opening_costs', ' and c.recorded_at < $4'),
    tests: [LOCKS],
  },
  {
    name: 'deadline of an administrator',
    why: 'a change is made after its caller got the answer that nothing was changed',
    file: 'src/db/pool/change.ts',
    remove: '      actor.wait?.decide()\n',
    put: '',
    tests: ['test/http/faults/changes-in-time.test.ts'],
  },
  {
    name: 'lock of the reservation',
    why: 'two simultaneous commits of one hold are both booked',
    ...inFunction('commit_spend', '      for update\n'),
    tests: [LOCKS],
  },
  {
    name: 'decision under the lock',
    why: 'a decision misses what others were granted meanwhile, and limits are exceeded',
    ...inFunction('reserve_spend', '  if v_change.over then\n', '  if false then\n'),
    tests: [CONCURRENCY],
  },
  {
    name: 'unique key of a request',
    why: 'a repeated request makes a second hold',
    file: 'migrations/0028_keys_of_tenants.up.sql',
    remove: 'create unique index if not exists reservations_idempotency_of_tenant',
    put: 'create index if not exists reservations_idempotency_of_tenant',
    tests: [BALANCES],
  },
  {
    name: 'tenant of a key',
    why: 'a key that one principal uses for two tenants returns the hold of the other tenant',
    ...inFunction('reserve_outcomes', 'r.tenant_id = i.tenant_id and '),
    tests: [BALANCES],
  },
  {
    name: 'hash of a request',
    why: 'a used key with another body gets the answer of the first request',
    ...inFunction(
      'reserve_outcomes',
      'case when copilot_internal.same_request(r.request_hash, i.request_hash)\n',
      'case when true\n',
    ),
    tests: [BALANCES],
  },
  {
    name: 'equal requests spelled differently',
    why: 'a retry that is spelled differently is refused, so its caller uses a new key',
    ...inFunction(
      'same_request',
      'pg_catalog.byteaeq(pg_catalog.substr(p_stored, 1, 17), pg_catalog.substr(p_sent, 1, 17))\n    or ',
    ),
    tests: [SAME_REQUESTS],
  },
  {
    name: 'request hashed by the previous release',
    why: 'a retry across an upgrade is refused, so its caller uses a new key',
    ...inFunction(
      'same_request',
      'substr(p_stored, pg_catalog.int4mi(pg_catalog.octet_length(p_stored), 31))',
      'substr(p_stored, 18)',
    ),
    tests: [SAME_REQUESTS],
  },
  {
    name: 'one item per key in a batch',
    why: 'a request and its repeat share a batch',
    file: 'src/db/pool/group-commit/batch-forming.ts',
    remove: 'if (batch.length >= most || (key !== null && keys.has(key))) later.push(entry)',
    put: 'if (batch.length >= most) later.push(entry)',
    tests: ['test/db/group-commit.test.ts'],
  },
  {
    name: 'commit once',
    why: 'a second commit of a hold is booked too',
    ...inFunction(
      'commit_spend',
      "where r.status <> 'committed' and r.reservation_id = any (v_ids) and (i.tenant_id",
      'where (i.tenant_id',
    ),
    tests: [BALANCES],
  },
  {
    name: 'commit with unreadable usage',
    why: 'a commit whose usage cannot be read is refused, and its hold lapses with nothing booked',
    ...inFunction('commit_spend', "i.measure in ('cost', 'reserved')", "i.measure = 'cost'"),
    tests: [UNREAD_USAGE],
  },
  {
    name: 'tenant of a commit',
    why: 'a tenant commits the hold of another tenant',
    ...inFunction(
      'commit_spend',
      'and (i.tenant_id is null or r.tenant_id = i.tenant_id)\n      and (i.measure',
      'and (i.measure',
    ),
    tests: [BALANCES],
  },
  {
    name: 'release once',
    why: 'a hold that is already settled is released again',
    ...inFunction(
      'release_spend',
      "where r.status = 'reserved' and r.reservation_id = any (v_known) and (i.tenant_id",
      'where (i.tenant_id',
    ),
    tests: [BALANCES],
  },
  {
    name: 'order in a batch',
    why: 'the items of one batch ignore each other and together exceed a limit',
    ...inFunction('decide_spend', 'v_reserved[v_balance] := v_reserved[v_balance] + v_amount;', 'null;'),
    tests: [BALANCES],
  },
  {
    name: 'each item alone in the check',
    why: 'an item is refused because of an amount that another item asked for and did not get',
    ...inFunction('reserve_spend', 'p_in_order => false', 'p_in_order => true'),
    tests: [BATCHES],
  },
  {
    name: 'free rate card',
    why: 'a free model is refused above a limit',
    ...inFunction('decide_spend', '    if p_free[i] and v_amount = 0 then\n', '    if false then\n'),
    tests: [FREE_PRICES],
  },
  {
    name: 'extension of a free hold',
    why: 'a free hold cannot be extended in a period above its limit',
    ...inFunction('reserve_spend', ', coalesce(p_free[i.ordinality], false)\n', ', false\n'),
    tests: [FREE_PRICES],
  },
  {
    name: 'ceiling of records',
    why: 'simultaneous calls of a key record more than its daily ceiling',
    ...inFunction('record_spend', '        where d.recorded_usd + excluded.recorded_usd <= p_day_max_usd;', ';'),
    tests: [CEILING],
  },
  {
    name: 'check of zero amounts',
    why: 'a reservation of 0 USD is granted above a limit',
    ...inFunction('reserve_spend', ' or 0 = any (p_amounts)'),
    tests: [MODEL],
  },
  {
    name: 'cause above the limit',
    why: 'no balance is marked as above its limit, so no refused item is decided again',
    ...inFunction('change_balances', 'then coalesce(p.over_cause, p_cause) end', 'then p.over_cause end'),
    tests: [CONCURRENCY],
  },
  {
    name: 'scopes retire between decisions',
    why: 'a balance is deleted that a running decision is about to use',
    ...inFunction('retire_scopes', 'perform pg_advisory_xact_lock(copilot_internal.quota_lock());'),
    tests: [IDLE_SCOPES],
  },
  {
    name: 'scopes retire only if still idle',
    why: 'a balance is deleted that was used after it had been found idle',
    ...inFunction('retire_scopes', 's.look_up_at < p_before and '),
    tests: [IDLE_SCOPES],
  },
  {
    name: 'records and holds keep balances',
    why: 'a late commit or a correction does not find its balances',
    ...inFunction('idle_scopes', 'i.user_id, n.tenant_id is null', 'i.user_id, true'),
    tests: [IDLE_SCOPES],
  },
  {
    name: 'every balance exists',
    why: 'an amount held or spent in a missing balance passes for counted',
    ...inFunction('change_balances', 'count(*) <> cardinality(p_ids)', 'false'),
    tests: [BALANCES],
  },
  {
    name: 'cause of an opening',
    why: 'a balance that opens above its limit is reported as broken',
    ...inFunction('open_balance', "then 'opening' end", 'then null::text end'),
    tests: [BALANCES],
  },
  {
    name: 'limit in the open period',
    why: 'a decision uses the old limit after a change',
    ...inFunction('set_quotas', 'set limit_usd = v_new.limit_usd, raise_limit_usd', 'set raise_limit_usd'),
    tests: [BALANCES],
  },
  {
    name: 'opening balance',
    why: 'a new quota ignores the costs that were booked before it was made',
    ...inFunction(
      'open_balance',
      'v_bounds.starts_at, v_bounds.ends_at, v_opening, v_opening,',
      'v_bounds.starts_at, v_bounds.ends_at, 0, 0,',
    ),
    tests: [BALANCES],
  },
  {
    name: 'later periods with costs are opened',
    why: 'the next period of a new quota misses a record that is already booked in it',
    ...inFunction(
      'open_balance',
      'v_at := copilot_internal.next_booking(p_quota.resource_type, p_quota.tenant_id, p_quota.user_id, v_bounds.ends_at);',
      'v_at := null;',
    ),
    tests: [BALANCES],
  },
  {
    name: 'adoption of open holds',
    why: 'a new quota ignores the holds that are already open',
    ...inFunction('open_balance', 'set quota_period_ids = r.quota_period_ids || v_id, ', 'set '),
    tests: [BALANCES],
  },
  {
    name: 'corrections skip uncounted balances',
    why: 'a correction reduces a balance that never counted the cost record',
    ...inFunction('late_period_ids', ' and p.opened_at >= p_since'),
    tests: [BALANCES],
  },
  {
    name: 'partitions before row locks',
    why: 'a commit and a sweep that charges a lapsed hold deadlock in a month without partitions',
    ...inFunction('expire_reservations', '  perform copilot_internal.ensure_cost_partitions(v_now);\n'),
    tests: [LOCKS],
  },
  {
    name: 'period of a late cost',
    why: 'a late commit counts in a period that does not contain it',
    ...inFunction(
      'late_period_ids',
      'cross join lateral copilot_internal.periods_at(q.quota_id, q.period, p_booked_at) p',
      'join copilot_internal.quota_periods p on p.quota_id = q.quota_id and p.closed_at is null',
    ),
    tests: [BALANCES],
  },
  {
    name: 'reversal of a charge',
    why: 'a commit after a charged lapse is counted on top of the charge',
    ...inFunction('commit_spend', 'd.cost_usd - coalesce(d.charged_usd, 0) as spent', 'd.cost_usd as spent'),
    tests: [BALANCES],
  },
  {
    name: 'correction once',
    why: 'a corrected cost record is corrected again',
    ...inFunction('correct_record', '  if not found then\n', '  if false then\n'),
    tests: [MODEL],
  },
  {
    name: 'closing of a re-zoned balance',
    why: 'a quota whose time zone changed has two open balances',
    ...inFunction(
      'set_quotas',
      'update copilot_internal.quota_periods p set closed_at = v_now',
      'update copilot_internal.quota_periods p set closed_at = p.closed_at',
    ),
    tests: [BALANCES],
  },
  {
    name: 'extended hold in the current period',
    why: 'a hold that is extended after midnight stays in the period that has ended',
    ...inFunction('extend_hold', '  v_moves := v_old.periods_end_at <= p_now;\n', '  v_moves := false;\n'),
    tests: [MODEL],
  },
  {
    name: 'commit after its period is late',
    why: 'a commit after midnight is not marked late and misses balances opened since its hold',
    ...inFunction('commit_spend', 'v_now >= least(r.expires_at, r.periods_end_at)', 'v_now >= r.expires_at'),
    tests: [BALANCES],
  },
  {
    name: 'ended period of a re-zoned quota',
    why: 'a time zone cannot be set if its current day begins at the same moment as a day that has ended',
    ...inFunction('set_quotas', ' or p.starts_at = b.starts_at'),
    tests: [BALANCES],
  },
  {
    name: 'reader of one tenant',
    why: 'only the conditions of its queries restrict a bound key to its tenant',
    file: 'src/db/pool/connection.ts',
    remove: '      if (tenantId !== null) await becomeReader(transaction, tenantId)\n',
    put: '',
    tests: [TENANT_READS],
  },
  {
    name: 'forced row-level security',
    why: 'no policy applies to the owner of the tables, or to a role that acts as the owner',
    ...inFunction('protect_table', ', force row level security'),
    tests: [ROLES],
  },
  {
    name: 'rights of the service',
    why: 'the service can rewrite cost records and the audit log by hand',
    ...inFunction('protect_schema', "'audit_log',\n    'audit_head'", "'audit_head'"),
    tests: [ROLES],
  },
]
