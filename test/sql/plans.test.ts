import pg from 'pg'
import t, { type Test } from 'tap'
import { checkSpend } from '../../src/db/reservations/check-spend.ts'
import { expireReservations } from '../../src/db/reservations/expire-reservations.ts'
import { setQuotas } from '../../src/db/quotas/quotas.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { booking, hold, openSession, spending } from '../helpers/money/spend.ts'

type Node = {
  'Node Type': string
  Schema?: string
  'Relation Name'?: string
  'Index Cond'?: string
  'Join Filter'?: string
  'CTE Name'?: string
  'Subplan Name'?: string
  'Sort Key'?: string[]
  'Parent Relationship'?: string
  Operation?: string
  Plans?: Node[]
}
type Statement = { text: string; plan: Node; where: string }

/** Tables that always stay small. */
const SMALL = new Set(['quota_defaults', 'audit_head'])

function* walk(node: Node): Generator<Node> {
  yield node
  for (const child of node.Plans ?? []) yield* walk(child)
}

/** Describes a node in the message of a failure. */
const describe = (node: Node) =>
  [node['Node Type'], node['Relation Name'], node['Index Cond']].filter(Boolean).join(' ')

/** Runs the deciding functions on a new connection, as the service does, and returns the plan of each statement. */
async function collectPlans(t: Test, database: TestDatabase, name: string): Promise<Statement[]> {
  const session = openSession(t, database.url)
  const statements: Statement[] = []
  session.pool.on('connect', (client: pg.PoolClient) => {
    client.on('notice', ({ message, where }) => {
      const json = /^duration: .*? plan:\n(\{[^]*)$/.exec(message ?? '')?.[1]
      if (json === undefined) return
      const { 'Query Text': text, Plan: plan } = JSON.parse(json) as { 'Query Text': string; Plan: Node }
      statements.push({ text, plan, where: where ?? '' })
    })
  })
  await session.pool.query(`
    load 'auto_explain';
    set auto_explain.log_min_duration = 0;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_verbose = on;
    set auto_explain.log_format = 'json';
    set auto_explain.log_level = 'notice'`)
  await setQuotas(session.db, [
    { scope: 'platform', period: 'day', limit_usd: '1000000' },
    { scope: 'tenant', tenant_id: `${name}-1`, period: 'month', limit_usd: '10' },
    { scope: 'user', tenant_id: `${name}-1`, user_id: 'u', period: 'hour', limit_usd: '10' },
  ])
  const items = [
    hold(`${name}-1`, '1', { user_id: 'u', idempotency_key: `${name}-1` }),
    hold(`${name}-1`, '2'),
    hold(`${name}-2`, '3', { on_expiry: 'charge', ttl_seconds: 1 }),
    hold(`${name}-3`, '1', { ttl_seconds: 1 }),
    hold(`${name}-3`, '1', { model: 'gpt-4o', provider: 'openai', estimate: { estimated_cost_usd: '1' } }),
  ]
  const ids = items.map((item) => item.reservation_id)
  // The same items again are repeats; one more asks for too much and is refused.
  t.match(await session.reserve(...items), Array(5).fill({ outcome: { granted: String } }))
  t.match(await session.reserve(...items), Array(5).fill({ outcome: { replayed: { status: 'reserved' } } }))
  t.match(await session.reserve(hold(`${name}-1`, '100'), hold(`${name}-1`, '1', { user_id: 'u' })), [
    { outcome: { refused: {} } },
    { outcome: { granted: '1' } },
  ])
  t.match(await checkSpend(session.db, [hold(`${name}-1`, '100', { user_id: 'u' })], 'enforce'), [
    { outcome: { refused: {} } },
  ])
  const longer = { reservation_id: ids[4]!, tenant_id: null, ttl_seconds: 6_000 }
  const total = (usd: string) => ({ estimate: { estimated_cost_usd: usd }, amount_usd: usd })
  t.match(await session.extend({ ...longer, total: null }), [{ extended: {} }])
  t.match(await session.extend({ ...longer, total: total('2') }), [{ extended: {} }])
  t.match(await session.extend({ ...longer, total: total('2000000') }), [{ refused: {} }])
  t.match(
    await session.commit(
      booking(ids[0]!, '0.5'),
      booking(ids[4]!, '0', { measure: 'tokens', usage: { input_tokens: 3, output_tokens: 5 } }),
    ),
    Array(2).fill({ outcome: { committed: { status: 'committed' } } }),
  )
  t.match(await session.release(ids[1]!), [{ settled: { status: 'released' } }])
  // Records of now and of the day before, by usage and by cost, of known and unknown tenants; then the same again.
  const yesterday = new Date(Date.now() - 86_400_000).toISOString()
  const spent = [
    spending(`${name}-1`, '1', { user_id: 'u', occurred_at: yesterday }),
    spending(`${name}-4`, '1'),
    spending(`${name}-1`, '0', {
      ...{ measure: 'tokens', provider: 'openai', model: 'gpt-4o', usage: { input_tokens: 3, output_tokens: 5 } },
    }),
    spending(`${name}-1`, '1', {
      resource_type: 'e2b',
      measure: 'seconds',
      seconds: '3',
      tier: 'standard',
      region: 'us-east-1',
    }),
  ]
  t.match(await session.record(...spent), { records: Array(4).fill({ replayed: false }) })
  t.match(await session.record(...spent), { records: Array(4).fill({ replayed: false }) })
  t.match(await session.record({ ...spent[0]!, request_hash: '\\x00' }), { faults: [{ index: 0, fault: 'mismatch' }] })
  t.match(await session.correct(spent[0]!.cost_record_id, '2'), { lines: [{ cost_usd: '-1' }, { cost_usd: '2' }] })
  t.match(await session.correct(spent[0]!.cost_record_id, '3'), { successor: String })
  await session.moveTo('2999-01-01T00:00:00Z')
  t.equal(await expireReservations(session.db, 500), 3)
  // Both commits are late: one reverses a charge, and both count in balances opened since.
  t.match(
    await session.commit(booking(ids[2]!, '1'), booking(ids[1]!, '1')),
    Array(2).fill({ outcome: { committed: { late: true } } }),
  )
  return statements
}

function assertLookups(t: Test, statements: Statement[]): void {
  const deciding = statements.filter(({ where }) => where !== '' && !where.includes('copilot_internal.set_quotas('))
  for (const name of [
    'reserve_spend',
    'commit_spend',
    'release_spend',
    'extend_reservation',
    'extend_hold',
    'check_spend',
    'expire_reservations',
    'record_spend',
    'correct_record',
    'change_balances',
  ]) {
    t.ok(
      deciding.some(({ where }) => where.includes(`copilot_internal.${name}(`)),
      `the log contains plans of ${name}()`,
    )
  }
  const reached = new Set<string>()
  for (const { text, plan, where } of deciding) {
    for (const node of walk(plan)) {
      const what = `${describe(node)} in ${where.split('\n', 1)[0]}: ${text}`
      if (/^(Hash Join|Merge Join|Materialize|Parallel|Gather)/.test(node['Node Type'])) t.fail(what)
      const relation = node['Relation Name']
      if (relation === undefined || !node.Schema?.startsWith('copilot_') || node['Node Type'] === 'ModifyTable')
        continue
      if (SMALL.has(relation)) continue
      if (!/^Index (Only )?Scan/.test(node['Node Type']) || node['Index Cond'] === undefined) t.fail(what)
      reached.add(relation)
    }
  }
  for (const table of ['quota_periods', 'scopes', 'reservations', 'cost_quotas', 'record_keys']) {
    t.ok(reached.has(table), `${table} is reached by an index`)
  }
}

/** Asserts that each update of balances is a nested loop whose outer side is sorted by id. */
function assertLockOrder(t: Test, statements: Statement[]): void {
  let updates = 0
  for (const { text, plan, where } of statements) {
    if (!where.includes('change_balances(')) continue
    const nodes = [...walk(plan)]
    for (const node of nodes) {
      if (node.Operation !== 'Update' || node['Relation Name'] !== 'quota_periods') continue
      updates += 1
      const join = node.Plans?.find((child) => child['Parent Relationship'] === 'Outer')
      const outer = join?.Plans?.find((child) => child['Parent Relationship'] === 'Outer')
      const inner = join?.Plans?.find((child) => child['Parent Relationship'] === 'Inner')
      const source =
        outer?.['CTE Name'] === undefined
          ? outer
          : nodes.find((child) => child['Subplan Name'] === `CTE ${outer['CTE Name']}`)
      const sorts = source === undefined ? [] : [...walk(source)].filter((child) => child['Node Type'] === 'Sort')
      t.equal(join?.['Node Type'], 'Nested Loop', text)
      t.match(inner, {
        'Node Type': 'Index Scan',
        'Relation Name': 'quota_periods',
        'Index Cond': /quota_period_id = /,
      })
      t.ok(
        sorts.some((sort) => /\bid$/.test(sort['Sort Key']?.[0] ?? '')),
        'the update follows the sorted ids',
      )
    }
  }
  t.ok(updates > 0, 'the log contains updates of balances')
}

/** Many scopes with their balances, and old reservations. */
async function grow(pool: pg.Pool): Promise<void> {
  await pool.query(`
    with quotas as (
      insert into copilot_internal.cost_quotas (scope, tenant_id, period, limit_usd, created_at, updated_at)
      select 'tenant', 'grown-' || n, 'day', 100, now(), now() from generate_series(1, 5000) n
      returning *
    ),
    periods as (
      insert into copilot_internal.quota_periods (
        quota_id, resource_type, scope, tenant_id, period, starts_at, ends_at, limit_usd, enforcement, opened_at)
      select q.quota_id, q.resource_type, q.scope, q.tenant_id, q.period, b.starts_at, b.ends_at, q.limit_usd, q.enforcement, now()
      from quotas q, copilot_internal.period_bounds(q.period, q.time_zone, 1, 1, now()) b
      returning *
    )
    insert into copilot_internal.scopes (resource_type, tenant_id, quota_period_ids, valid_from, valid_until, look_up_at)
    select p.resource_type, p.tenant_id, array[p.quota_period_id], p.starts_at, p.ends_at, p.ends_at from periods p`)
  await pool.query(`
    insert into copilot_internal.reservations (
      reservation_id, status, resource_type, tenant_id, principal, idempotency_key, request_hash, reserved_usd, on_expiry,
      created_at, granted_at, expires_at, quota_period_ids, periods_end_at, settled_at)
    select gen_random_uuid(), 'released', 'llm', 'grown-' || n, 'test', 'grown-' || n, '', 1, 'release', now(), now(), now(), '{}', now(), now()
    from generate_series(1, 5000) n`)
}

/** Gives the whole schema to an owner that is not a superuser, so that row-level security applies. */
async function giveAway(pool: pg.Pool, owner: string): Promise<void> {
  const { rows } = await pool.query<{ statement: string }>(
    `
    select format('alter schema %s owner to %I', n.oid::regnamespace, $1::text) as statement
      from pg_namespace n where n.nspname in ('copilot_internal', 'copilot_partitions')
    union all
    select format('alter table %s owner to %I', c.oid::regclass, $1::text) from pg_class c
     where c.relkind in ('r', 'p', 'v') and c.relnamespace::regnamespace::text in ('copilot_internal', 'copilot_partitions')
    union all
    select format('alter function %s owner to %I', p.oid::regprocedure, $1::text)
      from pg_proc p join pg_language l on l.oid = p.prolang
     where p.pronamespace = 'copilot_internal'::regnamespace and l.lanname <> 'internal'`,
    [owner],
  )
  for (const { statement } of rows) await pool.query(statement)
  await pool.query('select copilot_internal.protect_schema()')
}

const OWNER = `plans_owner_${process.pid}`
const maintenance = new pg.Client({ connectionString: process.env['TEST_DATABASE_URL'] })
await maintenance.connect()
await maintenance.query(`create role ${OWNER} nologin`)
t.teardown(async () => {
  await maintenance.query(`drop role ${OWNER}`)
  await maintenance.end()
})

const TABLES = [
  'cost_quotas',
  'quota_periods',
  'quota_defaults',
  'scopes',
  'reservations',
  'record_keys',
  'record_corrections',
]
const STATES: { state: string; prepare: (pool: pg.Pool) => Promise<unknown> }[] = [
  { state: 'empty tables', prepare: async () => {} },
  { state: 'empty tables that have been analysed', prepare: (pool) => pool.query('vacuum analyze') },
  { state: 'grown tables that nobody has analysed', prepare: grow },
  {
    state: 'tables that were analysed while empty and have grown since',
    prepare: async (pool) => {
      await pool.query('vacuum analyze')
      await grow(pool)
    },
  },
  {
    state: 'grown tables that have been analysed',
    prepare: async (pool) => {
      await grow(pool)
      await pool.query('vacuum analyze')
    },
  },
  { state: 'empty tables of an owner under row-level security', prepare: (pool) => giveAway(pool, OWNER) },
  {
    state: 'grown tables of an owner under row-level security',
    prepare: async (pool) => {
      await grow(pool)
      await giveAway(pool, OWNER)
      await pool.query('vacuum analyze')
    },
  },
]

for (const [n, { state, prepare }] of STATES.entries()) {
  t.test(`decisions use indexes for every look-up and lock balances in id order: ${state}`, async (t) => {
    const database = await createDatabase(t)
    // Only the test runs analyze.
    for (const table of TABLES) {
      await database.pool.query(`alter table copilot_internal.${table} set (autovacuum_enabled = off)`)
    }
    await prepare(database.pool)
    const statements = await collectPlans(t, database, `plans-${n}`)
    assertLookups(t, statements)
    assertLockOrder(t, statements)
  })
}

t.test('the integrity check does not compare each cost record with each correction', async (t) => {
  const { pool } = await createDatabase(t)
  await pool.query(`
    insert into copilot_internal.record_corrections (corrects, reversal_id, successor_id, corrected_at, reason)
    select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), now(), 'test' from generate_series(1, 5000)`)
  await pool.query('vacuum analyze')
  const { rows } = await pool.query<{ body: string }>(
    `select prosrc as body from pg_proc where oid = 'copilot_internal.check_integrity'::regproc`,
  )
  const explained = await pool.query<{ 'QUERY PLAN': [{ Plan: Node }] }>(`explain (format json) ${rows[0]!.body}`)
  const joins = [...walk(explained.rows[0]!['QUERY PLAN'][0].Plan)].filter((node) =>
    node.Plans?.some((child) => [...walk(child)].some((one) => one['Relation Name'] === 'record_corrections')),
  )
  t.ok(joins.length > 0)
  t.same(
    joins.map((node) => node['Join Filter'] ?? '').filter((filter) => /corrects|reversal_id/.test(filter)),
    [],
  )
})
