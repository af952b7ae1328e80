import { globSync } from 'node:fs'
import { join } from 'node:path'

/** One guard of the money: its text, and the tests that must detect its removal. */
export interface Guard {
  name: string
  /** What would happen without it. */
  why: string
  file: string
  /** Stands in the file exactly once. */
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

/** The one file of a function, whatever its room. */
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
    name: 'move of an alias',
    why: 'an alias that moves prices holds in flight and past records anew',
    ...inFunction(
      'set_model_aliases',
      'then greatest(v_new.effective_date, p_now) else',
      'then v_new.effective_date else',
    ),
    tests: [ALIASES],
  },
  {
    name: 'name taken by a model',
    why: 'a model that takes the name of an alias prices what was held by it anew',
    ...inFunction('set_model_aliases', 'greatest(min(m.effective_date), p_now)', 'min(m.effective_date)'),
    tests: [ALIASES],
  },
  {
    name: 'facts of old lines',
    why: 'a line of an early release loses what priced it with its reservation',
    ...inFunction('delete_settled', 'where not w.is_done', 'where false'),
    tests: [LINES],
  },
  {
    name: 'moment of a line',
    why: 'a correction is priced by the rates of another day',
    ...inFunction('correct_record', '  v_priced_at := v_line.priced_at;', '  v_priced_at := v_line.occurred_at;'),
    tests: [LINES],
  },
  {
    name: 'pinned plan',
    why: 'a hash join locks balances in no order',
    ...inFunction('pin_plans', " || array['enable_hashjoin=off', 'enable_mergejoin=off']"),
    tests: [PLANS],
  },
  {
    name: 'order of reservations',
    why: 'two commits of the same holds in opposite orders deadlock',
    ...inFunction(
      'commit_spend',
      'v_ids := array(select distinct i.reservation_id from unnest(v_items) i order by i.reservation_id);',
      'v_ids := array(select i.reservation_id from unnest(v_items) i);',
    ),
    tests: [LOCKS],
  },
  {
    name: 'order of keys',
    why: 'two batches with the same keys in opposite orders deadlock',
    ...inFunction('reserve_spend', '    order by i.principal, i.tenant_id, i.idempotency_key, i.ordinality\n'),
    tests: [LOCKS],
  },
  {
    name: 'order of tenants with one key',
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
    why: 'a decision works with a limit that is being changed',
    ...inFunction('reserve_spend', 'perform pg_advisory_xact_lock_shared(copilot_internal.quota_lock());'),
    tests: [LOCKS],
  },
  {
    name: 'exclusive lock of changes',
    why: 'money in flight escapes the opening balance of a new quota',
    ...inFunction('set_quotas', 'perform pg_advisory_xact_lock(copilot_internal.quota_lock());'),
    tests: [LOCKS],
  },
  {
    name: 'cutoff of the sum ahead',
    why: 'costs in flight while a new quota is summed are never counted in it',
    ...inFunction('booking_cutoff', 'perform pg_advisory_xact_lock(copilot_internal.quota_lock());'),
    tests: [LOCKS],
  },
  {
    name: 'end of the sum ahead',
    why: 'costs of the very moment of the sum count twice in a new quota',
    ...inFunction('opening_costs', ' and c.recorded_at < $4'),
    tests: [LOCKS],
  },
  {
    name: 'wait of an administrator',
    why: 'a change is made after its caller was told that nothing was changed',
    file: 'src/db/pool/change.ts',
    remove: '      actor.wait?.decide()\n',
    put: '',
    tests: ['test/http/faults/changes-in-time.test.ts'],
  },
  {
    name: 'lock of the reservation',
    why: 'a hold that two commit at once is booked twice',
    ...inFunction('commit_spend', '      for update\n'),
    tests: [LOCKS],
  },
  {
    name: 'decision under the lock',
    why: 'what others were granted meanwhile is not seen, and limits are exceeded',
    ...inFunction('reserve_spend', '  if v_change.over then\n', '  if false then\n'),
    tests: [CONCURRENCY],
  },
  {
    name: 'unique key of a request',
    why: 'a repeat holds again',
    file: 'migrations/0028_keys_of_tenants.up.sql',
    remove: 'create unique index if not exists reservations_idempotency_of_tenant',
    put: 'create index if not exists reservations_idempotency_of_tenant',
    tests: [BALANCES],
  },
  {
    name: 'tenant of a key',
    why: 'a key that one principal uses for two tenants answers with the other one’s hold',
    ...inFunction('reserve_outcomes', 'r.tenant_id = i.tenant_id and '),
    tests: [BALANCES],
  },
  {
    name: 'hash of a request',
    why: 'a key with another body is answered as if it were the first',
    ...inFunction(
      'reserve_outcomes',
      'case when copilot_internal.same_request(r.request_hash, i.request_hash)\n',
      'case when true\n',
    ),
    tests: [BALANCES],
  },
  {
    name: 'understood request',
    why: 'a retry that is spelled otherwise is refused, and its caller takes a new key',
    ...inFunction(
      'same_request',
      'pg_catalog.byteaeq(pg_catalog.substr(p_stored, 1, 17), pg_catalog.substr(p_sent, 1, 17))\n    or ',
    ),
    tests: [SAME_REQUESTS],
  },
  {
    name: 'request of the release before',
    why: 'a retry across an upgrade is refused, and its caller takes a new key',
    ...inFunction(
      'same_request',
      'substr(p_stored, pg_catalog.int4mi(pg_catalog.octet_length(p_stored), 31))',
      'substr(p_stored, 18)',
    ),
    tests: [SAME_REQUESTS],
  },
  {
    name: 'one effect a batch',
    why: 'a repeat in flight shares a batch with its first',
    file: 'src/db/pool/group-commit/batch-forming.ts',
    remove: 'if (batch.length >= most || (key !== null && keys.has(key))) later.push(entry)',
    put: 'if (batch.length >= most) later.push(entry)',
    tests: ['test/db/group-commit.test.ts'],
  },
  {
    name: 'commit once',
    why: 'another commit of a committed hold is booked too',
    ...inFunction(
      'commit_spend',
      "where r.status <> 'committed' and r.reservation_id = any (v_ids) and (i.tenant_id",
      'where (i.tenant_id',
    ),
    tests: [BALANCES],
  },
  {
    name: 'commit without a usage',
    why: 'a commit whose usage cannot be read is refused, and its hold lapses with nothing booked',
    ...inFunction('commit_spend', "i.measure in ('cost', 'reserved')", "i.measure = 'cost'"),
    tests: [UNREAD_USAGE],
  },
  {
    name: 'tenant of a commit',
    why: 'one tenant commits the hold of another',
    ...inFunction(
      'commit_spend',
      'and (i.tenant_id is null or r.tenant_id = i.tenant_id)\n      and (i.measure',
      'and (i.measure',
    ),
    tests: [BALANCES],
  },
  {
    name: 'release once',
    why: 'a hold that was settled is given back again',
    ...inFunction(
      'release_spend',
      "where r.status = 'reserved' and r.reservation_id = any (v_known) and (i.tenant_id",
      'where (i.tenant_id',
    ),
    tests: [BALANCES],
  },
  {
    name: 'order in a batch',
    why: 'the items of one batch do not see each other, and exceed a limit together',
    ...inFunction('decide_spend', 'v_reserved[v_balance] := v_reserved[v_balance] + v_amount;', 'null;'),
    tests: [BALANCES],
  },
  {
    name: 'each alone in a look',
    why: 'an item is refused for what another one of its batch did not get in the end',
    ...inFunction('reserve_spend', 'p_in_order => false', 'p_in_order => true'),
    tests: [BATCHES],
  },
  {
    name: 'free rate card',
    why: 'a model that costs nothing is refused above a limit',
    ...inFunction('decide_spend', '    if p_free[i] and v_amount = 0 then\n', '    if false then\n'),
    tests: [FREE_PRICES],
  },
  {
    name: 'free hold extended',
    why: 'a hold that costs nothing is refused a longer time in a period above its limit',
    ...inFunction('reserve_spend', ', coalesce(p_free[i.ordinality], false)\n', ', false\n'),
    tests: [FREE_PRICES],
  },
  {
    name: 'ceiling of records',
    why: 'calls at once of a key record more together than its ceiling',
    ...inFunction('record_spend', '        where d.recorded_usd + excluded.recorded_usd <= p_day_max_usd;', ';'),
    tests: [CEILING],
  },
  {
    name: 'look at what adds nothing',
    why: 'a reservation of 0 USD is granted above a limit',
    ...inFunction('reserve_spend', ' or 0 = any (p_amounts)'),
    tests: [MODEL],
  },
  {
    name: 'cause above the limit',
    why: 'nothing marks a balance as above its limit, so nothing is decided again',
    ...inFunction('change_balances', 'then coalesce(p.over_cause, p_cause) end', 'then p.over_cause end'),
    tests: [CONCURRENCY],
  },
  {
    name: 'retiring beside no decision',
    why: 'a balance goes that a decision is about to name',
    ...inFunction('retire_scopes', 'perform pg_advisory_xact_lock(copilot_internal.quota_lock());'),
    tests: [IDLE_SCOPES],
  },
  {
    name: 'retiring only what is idle still',
    why: 'a balance goes that was named since it was found idle',
    ...inFunction('retire_scopes', 's.look_up_at < p_before and '),
    tests: [IDLE_SCOPES],
  },
  {
    name: 'lines and holds keep balances',
    why: 'a late commit or a correction finds its balances gone',
    ...inFunction('idle_scopes', 'i.user_id, n.tenant_id is null', 'i.user_id, true'),
    tests: [IDLE_SCOPES],
  },
  {
    name: 'every balance is there',
    why: 'what is held or spent in a balance that is not there passes for counted',
    ...inFunction('change_balances', 'count(*) <> cardinality(p_ids)', 'false'),
    tests: [BALANCES],
  },
  {
    name: 'cause of an opening',
    why: 'a balance that opens above its limit looks like a broken one',
    ...inFunction('open_balance', "then 'opening' end", 'then null::text end'),
    tests: [BALANCES],
  },
  {
    name: 'period copy of the limit',
    why: 'a decision reads a limit that has been changed',
    ...inFunction('set_quotas', 'set limit_usd = v_new.limit_usd, raise_limit_usd', 'set raise_limit_usd'),
    tests: [BALANCES],
  },
  {
    name: 'opening balance',
    why: 'what was booked before a quota was made does not count',
    ...inFunction(
      'open_balance',
      'v_bounds.starts_at, v_bounds.ends_at, v_opening, v_opening,',
      'v_bounds.starts_at, v_bounds.ends_at, 0, 0,',
    ),
    tests: [BALANCES],
  },
  {
    name: 'following periods opened',
    why: 'a record that is booked ahead is lost from the next period of a quota that is made before',
    ...inFunction(
      'open_balance',
      'v_at := copilot_internal.next_booking(p_quota.resource_type, p_quota.tenant_id, p_quota.user_id, v_bounds.ends_at);',
      'v_at := null;',
    ),
    tests: [BALANCES],
  },
  {
    name: 'adoption of open holds',
    why: 'what is held already escapes a new quota',
    ...inFunction('open_balance', 'set quota_period_ids = r.quota_period_ids || v_id, ', 'set '),
    tests: [BALANCES],
  },
  {
    name: 'balance opened since',
    why: 'a correction takes money off a balance that never counted its line',
    ...inFunction('late_period_ids', ' and p.opened_at >= p_since'),
    tests: [BALANCES],
  },
  {
    name: 'partitions before rows',
    why: 'a sweep that charges a lapse and a commit deadlock in a month without partitions',
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
    why: 'a commit after a charged lapse is spent beside the charge',
    ...inFunction('commit_spend', 'd.cost_usd - coalesce(d.charged_usd, 0) as spent', 'd.cost_usd as spent'),
    tests: [BALANCES],
  },
  {
    name: 'correction once',
    why: 'a corrected line is corrected again',
    ...inFunction('correct_record', '  if not found then\n', '  if false then\n'),
    tests: [MODEL],
  },
  {
    name: 'closing of a moved balance',
    why: 'a quota whose zone changed has two running balances',
    ...inFunction(
      'set_quotas',
      'update copilot_internal.quota_periods p set closed_at = v_now',
      'update copilot_internal.quota_periods p set closed_at = p.closed_at',
    ),
    tests: [BALANCES],
  },
  {
    name: 'longer hold in the running period',
    why: 'a hold that is extended past midnight stays in a period that has ended',
    ...inFunction('extend_hold', '  v_moves := v_old.periods_end_at <= p_now;\n', '  v_moves := false;\n'),
    tests: [MODEL],
  },
  {
    name: 'lateness after a period',
    why: 'a commit after midnight is not late, and misses the balances that were opened since',
    ...inFunction('commit_spend', 'v_now >= least(r.expires_at, r.periods_end_at)', 'v_now >= r.expires_at'),
    tests: [BALANCES],
  },
  {
    name: 'ended period of a moved quota',
    why: 'a zone whose running day began with a day that has ended cannot be set',
    ...inFunction('set_quotas', ' or p.starts_at = b.starts_at'),
    tests: [BALANCES],
  },
  {
    name: 'reader of one tenant',
    why: 'the reads of a bound key are narrowed by their conditions only',
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
