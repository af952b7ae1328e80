import pg from 'pg'
import t, { type Test } from 'tap'
import { findRoles } from '../../src/db/pool/roles.ts'
import { migrateDown, migrateUp } from '../../src/db/migrate/migrations.ts'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'
import { startService } from '../helpers/servers/service.ts'

const silent = () => {}
// Roles belong to a whole cluster, so this file starts its own cluster.
const cluster = await startEmbeddedPostgres({ dataDir: makeDataDir(t), settings: { fsync: 'off' } })
t.teardown(() => cluster.stop())

async function run(url: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    let rows: Record<string, unknown>[] = []
    for (const statement of statements) ({ rows } = await client.query<Record<string, unknown>>(statement))
    return rows
  } finally {
    await client.end()
  }
}

/** Creates a database, and a login that owns it. */
async function makeDatabase(name: string, rights = ''): Promise<{ asOwner: string; asSuperuser: string }> {
  await run(
    cluster.databaseUrl,
    `create role ${name} login password 'secret' ${rights}`,
    `create database ${name} owner ${name}`,
  )
  const url = new URL(cluster.databaseUrl)
  url.pathname = `/${name}`
  const asSuperuser = url.href
  url.username = name
  url.password = 'secret'
  return { asOwner: url.href, asSuperuser }
}

const rolesThere = async () =>
  (await run(cluster.databaseUrl, `select rolname from pg_roles where rolname like 'purser\\_%' order by 1`)).map(
    ({ rolname }) => rolname,
  )

/** Starts a service, reserves and commits, and checks what keys of one tenant can read. Returns the log. */
async function assertWorks(t: Test, url: string): Promise<string> {
  const service = await startService(t, url)
  const acme = await service.keyFor('service', 'acme')
  const body = { resource_type: 'llm', estimated_cost_usd: 1 }
  const held = await service.call('POST', '/v1/reservations', body, acme)
  t.match(held, { status: 201, json: { tenant_id: 'acme' } }, held.text)
  const path = `/v1/reservations/${held.json.reservation_id}`
  t.equal((await service.call('POST', `${path}/commit`, { actual_cost_usd: 2 }, acme)).status, 200)
  const [own, other] = [await service.keyFor('viewer', 'acme'), await service.keyFor('viewer', 'other')]
  t.match((await service.call('GET', '/v1/cost-records', undefined, own)).json.data, [{ cost_usd: 2 }])
  t.same((await service.call('GET', '/v1/cost-records', undefined, other)).json.data, [])
  t.equal((await service.call('GET', path, undefined, other)).status, 404)
  t.match((await service.call('GET', '/v1/quotas/status', undefined, acme)).json.data, [{ scope: 'tenant' }])
  t.match(
    (await service.call('PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'x', period: 'day', limit_usd: 1 })).status,
    201,
  )
  t.match(await service.call('GET', '/v1/integrity'), { status: 200, json: { healthy: true, broken: [] } })
  await service.stop()
  return service.output()
}

t.test('an owner that cannot create roles works without them, and the log says what is not protected', async (t) => {
  const { asOwner } = await makeDatabase('plain')
  const lines: string[] = []
  await migrateUp(asOwner, (line) => lines.push(line))
  t.same(
    lines.filter((line) => line.startsWith('not protected')),
    ['purser_service', 'purser_reader'].map(
      (role) => `not protected: the role ${role} is not there, and plain may not make it`,
    ),
  )
  t.same(await rolesThere(), [])
  t.match(await findRoles(asOwner), { roles: { service: false, reader: false }, unprotected: { length: 2 } })
  const output = await assertWorks(t, asOwner)
  t.match(output, /not protected: the service runs as plain, which owns the tables/)
  t.match(output, /not protected: plain cannot take on the role purser_reader/)
})

t.test('databases of one cluster that migrate at once share the roles, and no down migration drops them', async (t) => {
  const databases = [
    await makeDatabase('one', 'createrole'),
    await makeDatabase('two', 'createrole'),
    await makeDatabase('three'),
  ]
  await Promise.all(databases.map(({ asOwner, asSuperuser }, n) => migrateUp(n === 2 ? asSuperuser : asOwner, silent)))
  t.same(await rolesThere(), ['purser_reader', 'purser_service'])
  await migrateDown(databases[0]!.asOwner, silent, { all: true })
  t.same(await rolesThere(), ['purser_reader', 'purser_service'])
  t.match(await findRoles(databases[2]!.asSuperuser), { roles: { service: true, reader: true }, unprotected: [] })
})

t.test('row-level security also applies to an owner that is not a superuser', async (t) => {
  const { asOwner, asSuperuser } = await makeDatabase('owner', 'createrole')
  // The owner did not create the roles, so their creator has to grant them.
  await run(cluster.databaseUrl, 'grant purser_service, purser_reader to owner')
  const lines: string[] = []
  await migrateUp(asOwner, (line) => lines.push(line))
  t.same(
    lines.filter((line) => line.startsWith('not protected')),
    [],
  )
  t.match(await findRoles(asOwner), { roles: { service: true, reader: true }, unprotected: [] })
  t.notMatch(await assertWorks(t, asOwner), /not protected/)
  const count = `select count(*)::integer as lines from copilot_internal.llm_cost_records`
  t.same(await run(asOwner, count), [{ lines: 1 }])
  t.same(await run(asOwner, `begin`, `set local role purser_reader`, count), [{ lines: 0 }])
  // The same holds for partitions. Without its policy the owner itself would see no rows.
  const [partition] = await run(
    asSuperuser,
    `select oid::regclass::text as name from pg_class where relispartition and relname like 'llm%' and relkind = 'r'`,
  )
  t.same(await run(asOwner, count.replace('copilot_internal.llm_cost_records', String(partition!['name']))), [
    { lines: 1 },
  ])
  await run(asSuperuser, 'drop policy every_row on copilot_internal.llm_cost_records')
  t.same(await run(asOwner, count), [{ lines: 0 }])
  await migrateUp(asOwner, silent)
  t.same(await run(asOwner, count), [{ lines: 1 }], 'the next run of the migrations restores the policy')
})

t.test('a service with its own login needs only the two roles, and owns nothing', async (t) => {
  const { asOwner } = await makeDatabase('hardened', 'createrole')
  await run(
    cluster.databaseUrl,
    'grant purser_service, purser_reader to hardened',
    `create role app login password 'secret'`,
  )
  const url = new URL(asOwner)
  url.username = 'app'
  const asApp = url.href
  await run(cluster.databaseUrl, 'grant purser_service, purser_reader to app')

  await t.rejects(migrateUp(asApp, silent), /permission denied for database/, 'the login cannot create the schema')
  await migrateUp(asOwner, silent)
  const lines: string[] = []
  await migrateUp(asApp, (line) => lines.push(line))
  t.match(lines, ['nothing to do: the schema is up to date (and owned by another login)'])
  t.notMatch(await assertWorks(t, asApp), /not protected/)
  for (const statement of [
    'update copilot_internal.llm_cost_records set total_cost_usd = 0',
    'delete from copilot_internal.audit_log',
    'set role hardened',
    'alter table copilot_internal.reservations no force row level security',
  ]) {
    await t.rejects(run(asApp, statement), /permission denied|must be owner/, statement)
  }
  await run(asOwner, `delete from copilot_internal.schema_functions where file = 'reserve_spend.sql'`)
  await t.rejects(
    migrateUp(asApp, silent),
    /Run "npm run migrate -- up" as the owner. It will apply: reserve_spend.sql$/,
  )
})
