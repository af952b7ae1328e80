import pg from 'pg'
import t, { type Test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { insertCostLines } from '../helpers/money/cost-lines.ts'
import { fillTenants } from '../helpers/money/two-tenants.ts'

const database = await createDatabase(t)
const ids = await fillTenants(t, database, ['acme', 'other'])
// Rolled-up records, and records that are not rolled up yet.
await database.pool.query('select copilot_internal.roll_up_tail(50000, 0)')
await insertCostLines(
  database.pool,
  ['acme', 'other'].map((tenant) => ({ tenant_id: tenant, cost_usd: '1', occurred_at: new Date().toISOString() })),
)

type RoleName = 'purser_service' | 'purser_reader' | 'stranger'
const STRANGER = `stranger_${database.name}`
const ROLES: RoleName[] = ['purser_service', 'purser_reader', 'stranger']
await database.pool.query(`create role ${STRANGER} nologin`)
t.teardown(async () => {
  const client = new pg.Client({ connectionString: process.env['TEST_DATABASE_URL'] })
  await client.connect()
  await client.query(`drop role ${STRANGER}`)
  await client.end()
})

/** Rights by role: read, add (insert), change (update: all or these columns), delete. Only the owner may truncate. */
type Rights = { read?: true; add?: true; change?: true | string[]; delete?: true }
const READ: Rights = { read: true }

/** The views of sums for callers of the first system, and the same by day. */
const SUMMARIES = [
  ...['tenant', 'user', 'conversation', 'path', 'tier'].map((key) => `e2b_cost_summary_by_${key}`),
  ...['tenant', 'user', 'conversation', 'path', 'model'].map((key) => `cost_summary_by_${key}`),
  'combined_cost_summary_by_tenant',
].flatMap((name) => [name, `${name}_daily`])

/** Every table and view of the schema, with the rights of each role. A new table or view must be added here. */
const RELATIONS: Record<string, { service: Rights; reader: Rights }> = {
  api_key_hashes: { service: { read: true, add: true, change: ['valid_until'] }, reader: {} },
  api_keys: {
    service: { read: true, add: true, change: ['prefix', 'last_used_at', 'revoked_at', 'configured_at'] },
    reader: {},
  },
  archived_costs: { service: READ, reader: {} },
  archived_periods: { service: READ, reader: {} },
  audit_head: { service: READ, reader: {} },
  audit_log: { service: READ, reader: {} },
  cache_secret: { service: READ, reader: {} },
  cost_archives: { service: READ, reader: {} },
  cost_quota_status: { service: READ, reader: READ },
  cost_quotas: { service: READ, reader: READ },
  cost_rollups: { service: READ, reader: READ },
  cost_tail: { service: READ, reader: READ },
  e2b_cost_records: { service: READ, reader: READ },
  e2b_pricing: { service: READ, reader: READ },
  line_facts: { service: READ, reader: {} },
  line_facts_walk: { service: READ, reader: {} },
  llm_cost_records: { service: READ, reader: READ },
  model_aliases: { service: READ, reader: READ },
  model_pricing: { service: READ, reader: READ },
  name_counts: { service: READ, reader: {} },
  price_edition: { service: { read: true, change: ['fed_at'] }, reader: READ },
  price_seed: { service: { read: true, add: true, change: true }, reader: {} },
  quota_defaults: { service: READ, reader: {} },
  quota_events: { service: READ, reader: READ },
  quota_periods: { service: READ, reader: READ },
  record_corrections: { service: READ, reader: READ },
  record_days: { service: READ, reader: {} },
  record_keys: { service: READ, reader: {} },
  reservations: { service: READ, reader: READ },
  rolled_costs: { service: READ, reader: READ },
  schema_functions: { service: READ, reader: {} },
  schema_migrations: { service: READ, reader: {} },
  schema_migrations_lock: { service: READ, reader: {} },
  schema_objects: { service: READ, reader: {} },
  scopes: { service: READ, reader: {} },
  webhook_deliveries: { service: { read: true, add: true, change: true, delete: true }, reader: {} },
  webhook_endpoints: { service: { read: true, add: true, change: true, delete: true }, reader: {} },
  webhook_secrets: { service: { read: true, add: true, change: true, delete: true }, reader: {} },
  ...Object.fromEntries(SUMMARIES.map((name) => [name, { service: READ, reader: READ }])),
}

/** Tables without data of tenants. All others have row-level security, which also applies to their owner. */
const COMMON = [
  ...[
    'e2b_pricing',
    'line_facts_walk',
    'model_aliases',
    'model_pricing',
    'price_edition',
    'price_seed',
    'quota_defaults',
    'webhook_secrets',
  ],
  ...['schema_functions', 'schema_migrations', 'schema_migrations_lock', 'schema_objects'],
]

/** Functions with their owner's rights: through them the service changes tables that it may only read. */
const INLINED = [
  ...['quota_lock', 'is_contended', 'same_request', 'reservation_json', 'running_limit', 'priced_tier'],
  ...['find_reservation', 'scope_quotas', 'periods_at'],
]

const WITH_OWNERS_RIGHTS = [
  ...['reserve_spend', 'commit_spend', 'release_spend', 'extend_reservation', 'expire_reservations', 'check_spend'],
  ...['record_spend', 'correct_record', 'increment_e2b_quota_spend', 'emit_missing_prices', 'emit_stale_prices'],
  'emit_unread_usage',
  ...['emit_cost_anomalies', 'emit_broken_integrity', 'fan_out_events', 'settle_deliveries'],
  ...['set_quotas', 'patch_quota', 'delete_quota', 'set_quota_defaults', 'put_quota_default', 'delete_quota_default'],
  'finish_quota_default',
  ...[
    'append_cost_tail',
    'roll_up_tail',
    'ensure_cost_partitions',
    'archived_between',
    'delete_settled',
    'delete_record_keys',
    'delete_old_events',
    'keep_line_facts',
    'idle_scopes',
    'retire_scopes',
  ],
  ...['close_cost_partition', 'verify_archive', 'drop_cost_partition', 'carry_archive', 'forget_archive'],
  ...['prepare_restore', 'load_archived_records', 'finish_restore'],
  ...['publish_model_prices', 'publish_e2b_prices', 'add_model_price', 'add_e2b_price', 'lock_prices', 'write_audit'],
]

/** Functions that the reader may call: the look-up of prices, and those that its reads use. */
const READERS_FUNCTIONS = [
  ...[
    'get_current_model_pricing',
    'find_model_price',
    'find_model_card',
    'resolve_model',
    'price_llm_usage',
    'price_e2b_usage',
    'priced_tier',
  ],
  ...['calculate_llm_cost', 'calculate_e2b_cost', 'get_quota_status', 'clock_now', 'period_bounds', 'billing_date'],
  ...['local_midnight', 'quota_json', 'reservation_json', 'cost_record_json'],
  ...['cost_segments', 'nearest_cost_grain', 'cost_grain_floor', 'archived_between'],
]

/** A connection in one transaction that is rolled back at the end; each statement is tried separately. */
async function openAs(t: Test, role: RoleName, tenant = '') {
  const client = await database.pool.connect()
  await client.query('begin')
  await client.query(`select set_config('purser.tenant', $1, true), set_config('role', $2, true)`, [
    tenant,
    role === 'stranger' ? STRANGER : role,
  ])
  t.teardown(async () => {
    await client.query('rollback')
    client.release()
  })
  return {
    rows: async (statement: string) => {
      // oxlint-disable-next-line typescript/no-explicit-any
      const { rows } = await client.query<any>(statement)
      return rows
    },
    /** Null if the statement succeeded (it is undone), else the reason of its failure. */
    failure: async (statement: string): Promise<pg.DatabaseError | null> => {
      await client.query('savepoint one')
      try {
        await client.query(statement)
        return null
      } catch (error) {
        return error as pg.DatabaseError
      } finally {
        await client.query('rollback to savepoint one')
      }
    },
  }
}

const denied = (failure: pg.DatabaseError | null) => failure?.code === '42501'

async function listRelations(kinds: string): Promise<{ name: string; schema: string; kind: string }[]> {
  const { rows } = await database.pool.query(
    `select c.relname as name, n.nspname as schema, c.relkind as kind
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ('copilot_internal', 'copilot_partitions') and c.relkind = any ($1) order by 1`,
    [kinds.split('')],
  )
  return rows
}

t.test('this file lists every table and view, with the rights of each role', async (t) => {
  const names = (await listRelations('rpvmf')).filter(({ schema }) => schema === 'copilot_internal')
  t.same(
    names.map(({ name }) => name),
    Object.keys(RELATIONS).sort(),
  )
})

for (const role of ROLES) {
  t.test(`${role} has exactly its listed rights on each table and view`, async (t) => {
    const session = await openAs(t, role)
    for (const { name, schema, kind } of await listRelations('rpvmf')) {
      const relation = `${schema}.${name}`
      const known = schema === 'copilot_internal' ? RELATIONS[name] : undefined
      const rights: Rights =
        (role === 'stranger' ? undefined : known?.[role === 'purser_service' ? 'service' : 'reader']) ?? {}
      t.equal(
        denied(await session.failure(`select from ${relation} limit 1`)),
        rights.read !== true,
        `read ${relation}`,
      )
      if (kind === 'v') continue
      t.equal(
        denied(await session.failure(`insert into ${relation} default values`)),
        rights.add !== true,
        `add to ${relation}`,
      )
      t.equal(
        denied(await session.failure(`delete from ${relation} where false`)),
        rights.delete !== true,
        `delete from ${relation}`,
      )
      t.ok(denied(await session.failure(`truncate ${relation}`)), `truncate ${relation}`)
      const { rows: columns } = await database.pool.query<{ name: string }>(
        `select attname as name from pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = '' and attidentity = ''`,
        [relation],
      )
      for (const column of columns) {
        const may = rights.change === true || (rights.change ?? []).includes(column.name)
        const failure = await session.failure(`update ${relation} set ${column.name} = null where false`)
        t.equal(denied(failure), !may, `change ${relation}.${column.name}`)
      }
    }
    for (const { name, schema } of await listRelations('S')) {
      t.ok(denied(await session.failure(`select nextval('${schema}.${name}')`)), `count ${schema}.${name} on`)
      t.ok(denied(await session.failure(`select setval('${schema}.${name}', 1)`)), `set ${schema}.${name}`)
    }
  })

  t.test(`${role} can call exactly its listed functions`, async (t) => {
    const session = await openAs(t, role)
    // Except functions that belong to a type.
    const { rows: functions } = await database.pool.query<{
      name: string
      call: string
      callable: boolean
      oid: string
    }>(`
      select p.proname as name, p.oid, p.prorettype <> 'trigger'::regtype and not p.proisstrict as callable,
             format('select %s(%s)', p.oid::regproc, (
               select string_agg(format('null::%s', format_type(a.type, null)), ', ' order by a.n)
               from unnest(p.proargtypes) with ordinality a(type, n))) as call
      from pg_proc p
      where p.pronamespace in ('copilot_internal'::regnamespace, 'copilot_partitions'::regnamespace)
        and p.prolang <> (select oid from pg_language where lanname = 'internal')`)
    t.not(functions.length, 0)
    for (const { name, call, callable, oid } of functions) {
      const may = role === 'purser_service' || (role === 'purser_reader' && READERS_FUNCTIONS.includes(name))
      t.same(await session.rows(`select has_function_privilege(${oid}, 'execute') as may`), [{ may }], name)
      // A strict function is not run with null arguments.
      if (!callable) continue
      const failure = await session.failure(call)
      t.equal(
        /^permission denied for (function|schema)/.test(failure?.message ?? ''),
        !may,
        `${call}: ${failure?.message}`,
      )
    }
  })
}

t.test(
  'only the listed functions have their owner’s rights, and no session can redirect the names a function uses',
  async (t) => {
    const { rows } = await database.pool.query<{
      name: string
      definer: boolean
      config: string[] | null
      owned: boolean
    }>(`
    select p.proname as name, p.prosecdef as definer, p.proconfig as config, p.proowner = n.nspowner as owned
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'copilot_internal' and p.prolang <> (select oid from pg_language where lanname = 'internal')
    order by 1`)
    t.same(
      rows.filter(({ definer }) => definer).map(({ name }) => name),
      WITH_OWNERS_RIGHTS.toSorted(),
    )
    for (const { name, config, owned } of rows) {
      t.ok(owned, `${name} is the owner's`)
      // These are a constant, or qualify every name with its schema, so that Postgres can inline them.
      if (INLINED.includes(name)) continue
      // The temporary schema comes last; otherwise a session's own type or table could hide one of Postgres.
      t.ok(config?.includes('search_path=pg_catalog, pg_temp'), `${name} has a fixed search_path`)
    }
  },
)

t.test(
  'row-level security is enabled and forced on every table with data of tenants, and its partitions',
  async (t) => {
    const { rows } = await database.pool.query<{ name: string; forced: boolean }>(`
    select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as forced from pg_class c
    where c.relkind in ('r', 'p') and c.relnamespace in ('copilot_internal'::regnamespace, 'copilot_partitions'::regnamespace)`)
    t.ok(rows.some(({ name }) => /^llm_cost_records_\d{4}_\d{2}$/.test(name)))
    for (const { name, forced } of rows) t.equal(forced, !COMMON.includes(name), name)
    const { rows: withTenant } = await database.pool.query<{ name: string }>(`
    select c.relname as name from pg_attribute a join pg_class c on c.oid = a.attrelid
    where a.attname = 'tenant_id' and c.relkind in ('r', 'p') and c.relnamespace = 'copilot_internal'::regnamespace`)
    t.same(
      withTenant.filter(({ name }) => COMMON.includes(name)),
      [],
    )
  },
)

t.test('the reader sees only the rows of its tenant in every table and view', async (t) => {
  const readable = Object.keys(RELATIONS).filter((name) => RELATIONS[name]!.reader.read && !COMMON.includes(name))
  const acme = await openAs(t, 'purser_reader', 'acme')
  const nobody = await openAs(t, 'purser_reader')
  const unknown = await openAs(t, 'purser_reader', `acme' or true --`)
  for (const name of readable) {
    t.same(await nobody.rows(`select * from copilot_internal.${name}`), [], `${name} without a tenant`)
    t.same(await unknown.rows(`select * from copilot_internal.${name}`), [], `${name} of an unknown tenant`)
    if (name === 'record_corrections') {
      t.same(await acme.rows(`select corrects from copilot_internal.${name}`), [{ corrects: ids.acme.correctedId }])
      continue
    }
    if (/_by_(?:tier|model)(?:_daily)?$/.test(name)) {
      const column = name.startsWith('e2b') ? 'execution_time_seconds' : 'total_cost_usd'
      const own = await acme.rows(`select sum(${column})::text as sum from copilot_internal.${name}`)
      const of = name.replace(/_by_(?:tier|model)/, '_by_tenant')
      t.same(own, await acme.rows(`select sum(${column})::text as sum from copilot_internal.${of}`), name)
      continue
    }
    const tenants = await acme.rows(`select distinct tenant_id from copilot_internal.${name}`)
    t.same(tenants, [{ tenant_id: 'acme' }], name)
    const others = `select * from copilot_internal.${name} where tenant_id is distinct from 'acme'`
    t.same(await acme.rows(others), [], `${name}, asked for others`)
  }
})

t.test('the reader sees no other tenant through a function, a cast or an error', async (t) => {
  const acme = await openAs(t, 'purser_reader', 'acme')
  const own = `select copilot_internal.cost_record_json('${ids.acme.recordId}') as line`
  t.match(await acme.rows(own), [{ line: { tenant_id: 'acme' } }])
  t.same(await acme.rows(own.replace(ids.acme.recordId, ids.other.recordId)), [{ line: null }])
  t.not((await acme.rows(`select * from copilot_internal.get_quota_status('tenant', 'acme')`)).length, 0)
  t.same(await acme.rows(`select * from copilot_internal.get_quota_status('tenant', 'other')`), [])
  t.same(await acme.rows(`select * from copilot_internal.get_quota_status('platform', 'platform')`), [])
  // If this condition read a row of the other tenant, its error would reveal that the row exists.
  const leak = `select from copilot_internal.reservations where (tenant_id || '!')::integer = 1 and tenant_id = 'other'`
  t.equal(await acme.failure(leak), null)
  // The reader cannot reach other tenants through a partition, a copy or another role.
  const { name } = (await listRelations('r')).find(({ schema }) => schema === 'copilot_partitions')!
  t.ok(denied(await acme.failure(`select from copilot_partitions.${name}`)))
  t.ok(denied(await acme.failure('create table copilot_internal.mine (n integer)')))
  t.ok(denied(await acme.failure('alter table copilot_internal.reservations no force row level security')))
  t.ok(denied(await acme.failure('create policy mine on copilot_internal.reservations using (true)')))
})

t.test(
  'the service cannot write by hand what only its functions may write, and cannot grant itself the right',
  async (t) => {
    const service = await openAs(t, 'purser_service')
    for (const statement of [
      `update copilot_internal.llm_cost_records set total_cost_usd = 0`,
      `delete from copilot_internal.audit_log`,
      `update copilot_internal.model_pricing set usd_per_mtok = '{"input":"0"}'`,
      `update copilot_internal.quota_periods set spent = 0`,
      `update copilot_internal.api_keys set role = 'admin'`,
      `alter table copilot_internal.audit_log disable trigger all`,
      `select copilot_internal.change_balances('{1}', '{0}', '{0}', 'commit', now())`,
      `create or replace function copilot_internal.clock_now() returns timestamptz language sql as 'select now()'`,
    ]) {
      const failure = await service.failure(statement)
      t.match(failure?.message, /permission denied|must be owner/, statement)
    }
  },
)
