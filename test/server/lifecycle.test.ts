import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { findFreePort } from '../../src/embedded/free-port.ts'
import { describeProcess } from '../../src/embedded/process-table.ts'
import { createEmptyDatabase } from '../helpers/database.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'
import { ADMIN_KEY, spawnService, type Service } from '../helpers/servers/service.ts'
import { processEnvironment, startArguments } from '../helpers/servers/start-arguments.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')
const HOLD = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: 1 }

/** Starts the service with these settings only; stopped when `t` is done. */
async function start(t: Test, settings: Record<string, string>): Promise<Service> {
  const service = await spawnService(settings)
  t.teardown(() => service.stop())
  return service
}

/** Starts the service, which must fail. Returns how the process ended and everything it printed. */
async function startAndFail(settings: Record<string, string>) {
  const child = spawn(process.execPath, startArguments, {
    cwd: root,
    env: { ...processEnvironment(), LOG_LEVEL: 'warn', PORT: '0', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // If it starts after all, it is stopped and ends with 0.
  child.stdout.once('data', () => child.kill('SIGTERM'))
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { code: child.exitCode, output, errors: errors.split('\n').filter((line) => line !== '') }
}

/** The embedded Postgres of a data folder: its pid and its URL, from its files there. */
function embeddedOf(dataDir: string): { pid: number; url: string } {
  const [pid, , , port] = readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')
  const password = readFileSync(join(dataDir, 'password'), 'utf8')
  return { pid: Number(pid), url: `postgres://purser:${password}@127.0.0.1:${port}/purser` }
}

const keyIn = (service: Service) => /shown this once: (psr_\S+)/.exec(service.output())?.[1]

const withKey = (key: string | undefined) => ({ authorization: `Bearer ${key}` })

async function connect(t: Test, databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: databaseUrl })
  client.on('error', () => {})
  await client.connect()
  t.teardown(() => client.end())
  return client
}

t.test('a first start needs only a folder, and the printed commands make a first reservation', async (t) => {
  const { stdout: curl } = await run('sh', ['-c', 'command -v curl || true'])
  t.not(curl, '', 'curl is on the PATH: this test runs the very command that the service prints')
  const dataDir = makeDataDir(t)
  const first = await start(t, { PURSER_DATA_DIR: dataDir })
  t.match(first.output(), `Purser ${versionOf()} listens on ${first.url}`)
  t.match(new URL(first.url), { hostname: '127.0.0.1' }, 'the service listens on this machine only')
  t.equal(first.output().match(/Admin key/g)?.length, 1)
  const key = keyIn(first)
  t.ok(key)

  const [command] = /^ *curl .*\\\n.*$/m.exec(first.output()) ?? []
  t.match(command, key!)
  writeFileSync(join(dataDir, '.curlrc'), 'write-out = "\\n%{http_code}"\n')
  const { stdout } = await run('sh', ['-c', command!], { env: { ...process.env, CURL_HOME: dataDir } })
  const [body, status] = stdout.split('\n')
  t.equal(status, '201')
  const held = JSON.parse(body!) as { reservation_id: string; status: string; reserved_usd: number }
  t.equal(held.status, 'reserved')

  const { pid } = embeddedOf(dataDir)
  t.equal(await first.stop(), 0)
  t.equal(describeProcess(pid), undefined, 'its Postgres stopped with it')

  const second = await start(t, { PURSER_DATA_DIR: dataDir })
  t.notMatch(second.output(), /psr_|Admin key/, 'the key is not printed again')
  const read = await second.call('GET', `/v1/reservations/${held.reservation_id}`, undefined, withKey(key))
  const { reservation_id, reserved_usd } = held
  t.match(read, { status: 200, json: { reservation_id, status: 'reserved', reserved_usd, tenant_id: 'acme' } })
  t.equal((await second.call('GET', `/v1/reservations/${held.reservation_id}`)).status, 401, 'another key is refused')
})

function versionOf(): string {
  return (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version
}

t.test('SIGTERM answers the requests in flight, stops the embedded Postgres, and ends with 0', async (t) => {
  const dataDir = makeDataDir(t)
  const service = await start(t, { PURSER_DATA_DIR: dataDir, PURSER_ADMIN_KEY: ADMIN_KEY, LOG_LEVEL: 'info' })
  t.equal((await service.call('POST', '/v1/reservations', HOLD)).status, 201)
  const { pid, url } = embeddedOf(dataDir)
  const client = await connect(t, url)
  await client.query('begin')
  await client.query(`select from copilot_internal.quota_periods where tenant_id = 'acme' for update`)
  const inFlight = service.call('POST', '/v1/reservations', HOLD)
  for (;;) {
    const { rowCount } = await client.query(`
      select from pg_locks where not granted and pid <> pg_backend_pid()`)
    if (rowCount !== 0) break
  }
  const ended = service.stop('SIGTERM')
  // Sends requests, each on a new connection, until the service says that it is stopping or takes no more connections.
  while (!service.output().includes('"stopping"')) await fetch(`${service.url}/healthz`).catch(() => {})
  await client.query('commit')
  t.equal((await inFlight).status, 201)
  t.equal(await ended, 0)
  t.equal(describeProcess(pid), undefined)
  t.equal(describeProcess(service.pid), undefined)
})

t.test('after kill -9 the next start recovers by itself and has everything that was answered', async (t) => {
  const dataDir = makeDataDir(t)
  const settings = { PURSER_DATA_DIR: dataDir, PURSER_ADMIN_KEY: ADMIN_KEY }
  const killed = await start(t, settings)
  const held = await Promise.all(Array.from({ length: 20 }, () => killed.call('POST', '/v1/reservations', HOLD)))
  const [committed, open] = held
  const path = `/v1/reservations/${committed!.json.reservation_id}`
  t.equal((await killed.call('POST', `${path}/commit`, { actual_cost_usd: 0.75 })).status, 200)
  const orphan = embeddedOf(dataDir).pid
  t.equal(await killed.stop('SIGKILL'), 'SIGKILL')

  const service = await start(t, settings)
  t.equal(describeProcess(orphan), undefined, 'the Postgres of the killed process was stopped')
  t.match(await service.call('GET', path), { status: 200, json: { status: 'committed', cost_usd: 0.75 } })
  for (const { json } of held.slice(1)) {
    const read = await service.call('GET', `/v1/reservations/${json.reservation_id}`)
    t.match(read, { status: 200, json: { status: 'reserved', reserved_usd: 1 } })
  }
  const day = await service.call('GET', '/v1/quotas/status?tenant_id=acme&resource_type=llm')
  t.match(day.json.data, [{ spent_usd: 0.75, reserved_usd: 19 }])
  const late = await service.call('POST', `/v1/reservations/${open!.json.reservation_id}/release`, {})
  t.match(late, { status: 200, json: { released_usd: 1 } })
})

t.test('a data folder in use is refused in one line, and the service that uses it goes on', async (t) => {
  const dataDir = makeDataDir(t)
  const owner = await start(t, { PURSER_DATA_DIR: dataDir, PURSER_ADMIN_KEY: ADMIN_KEY })
  const { code, output, errors } = await startAndFail({ PURSER_DATA_DIR: dataDir })
  t.match({ code, output }, { code: 1, output: '' })
  t.equal(errors.length, 1)
  t.match(errors[0], new RegExp(`^The data folder \\S+ is in use by the running process ${owner.pid} `))
  t.equal((await owner.call('POST', '/v1/reservations', HOLD)).status, 201)
})

t.test('a port in use is reported in one line', async (t) => {
  const { url } = await createEmptyDatabase(t)
  const owner = await start(t, { DATABASE_URL: url })
  const { port } = new URL(owner.url)
  const { code, output, errors } = await startAndFail({ DATABASE_URL: url, PORT: port })
  t.match({ code, output }, { code: 1, output: '' })
  t.same(errors, [`listen EADDRINUSE: address already in use 127.0.0.1:${port}`])
})

t.test('two services that start concurrently on a fresh database both come up', async (t) => {
  const { url } = await createEmptyDatabase(t)
  const settings = { DATABASE_URL: url, PURSER_ADMIN_KEY: ADMIN_KEY }
  const services = await Promise.all([start(t, settings), start(t, settings)])
  for (const service of services) {
    t.match(await service.call('GET', '/readyz'), { status: 200, json: { status: 'ready' } })
    t.notMatch(service.output(), 'Admin key', 'the key from the setting is not printed')
  }
  const held = await services[0].call('POST', '/v1/reservations', HOLD)
  const read = await services[1].call('GET', `/v1/reservations/${held.json.reservation_id}`)
  t.match(read, { status: 200, json: { status: 'reserved' } })
})

t.test('a schema with foreign objects is left unchanged, and the objects are listed', async (t) => {
  const { url, pool } = await createEmptyDatabase(t)
  await pool.query(`
    create schema copilot_internal;
    create table copilot_internal.not_ours as select 'kept' as word;
    create view copilot_internal.nor_this as select word from copilot_internal.not_ours`)
  const { code, output, errors } = await startAndFail({ DATABASE_URL: url })
  t.match({ code, output }, { code: 1, output: '' })
  t.match(errors[0], /^Nothing was changed: /)
  t.same(errors.slice(1).sort(), ['  table copilot_internal.not_ours', '  view copilot_internal.nor_this'])
  const { rows } = await pool.query(`
    select string_agg(relname, ' ' order by relname) as names, (select word from copilot_internal.not_ours) as word
    from pg_class where relnamespace = 'copilot_internal'::regnamespace`)
  t.same(rows, [{ names: 'nor_this not_ours', word: 'kept' }])
})

t.test('unknown settings and bad values stop the start, with one line each and no secret value', async (t) => {
  const { code, output, errors } = await startAndFail({
    PURSER_NONSENSE: '1',
    PURSER_ADMIN_KEY: 'sesame',
    PORT: '99999',
    PURSER_ENFORCEMENT: 'sometimes',
    PURSER_DEFAULT_LLM_USD_PER_DAY: 'plenty',
    PURSER_RATE_LIMIT_READS: '-1',
    PURSER_RATE_LIMIT_ADMIN: 'true',
    PURSER_ARCHIVE_YEARS: '1.5',
    PURSER_EVENT_DAYS: '0x5a',
    PURSER_TRUSTED_PROXIES: '10.0.0.0/8, elsewhere',
    LOG_LEVEL: 'loud',
    DATABASE_URL: 'mysql://root:sesame@localhost/purser',
    REDIS_URL_FILE: '/nowhere/redis',
  })
  t.match({ code, output }, { code: 1, output: '' })
  const names = errors.map((line) => /^(\w+):? /.exec(line)?.[1] ?? line)
  t.same(
    names.sort(),
    [
      ...['DATABASE_URL', 'LOG_LEVEL', 'PORT', 'PURSER_ADMIN_KEY', 'PURSER_DEFAULT_LLM_USD_PER_DAY'],
      ...['PURSER_ENFORCEMENT', 'PURSER_NONSENSE', 'PURSER_RATE_LIMIT_READS', 'PURSER_TRUSTED_PROXIES'],
      ...['PURSER_RATE_LIMIT_ADMIN', 'PURSER_ARCHIVE_YEARS', 'PURSER_EVENT_DAYS'],
      'REDIS_URL_FILE',
    ].sort(),
  )
  t.match(errors, ['PURSER_NONSENSE is not a setting of Purser'])
  t.ok(errors.includes('PURSER_ENFORCEMENT must be one of enforce, warn, off'))
  t.notMatch(errors.join('\n'), 'sesame')

  const unspeakable = await startAndFail({ PURSER_ADMIN_KEY: 'no header holds a sesame with blanks' })
  t.match(unspeakable, { code: 1, output: '', errors: [/^PURSER_ADMIN_KEY must match/] })
  t.notMatch(unspeakable.errors.join('\n'), 'sesame')
})

t.test('settings are read from files, and a setting that is given twice is refused', async (t) => {
  const { url } = await createEmptyDatabase(t)
  const folder = makeDataDir(t)
  const [urlFile, keyFile] = [join(folder, 'url'), join(folder, 'key')]
  writeFileSync(urlFile, `${url}\n`)
  writeFileSync(keyFile, `${ADMIN_KEY}\n`)
  const service = await start(t, { DATABASE_URL_FILE: urlFile, PURSER_ADMIN_KEY_FILE: keyFile })
  t.equal((await service.call('POST', '/v1/reservations', HOLD)).status, 201)

  const twice = await startAndFail({ DATABASE_URL_FILE: urlFile, DATABASE_URL: url })
  t.match(twice, { code: 1, output: '', errors: [/^DATABASE_URL_FILE and DATABASE_URL are both set/] })
  t.equal(twice.errors.length, 1)
})

t.test('an unusable Postgres is reported in one line with its address and without the password', async (t) => {
  const { url, name } = await createEmptyDatabase(t)
  const { hostname, port } = new URL(url)
  const withChange = (changes: Partial<Pick<URL, 'port' | 'hostname' | 'password' | 'pathname'>>) =>
    Object.assign(new URL(url), { password: 'sesame', ...changes }).href
  const closed = String(await findFreePort())
  const own = decodeURIComponent(new URL(url).password)
  const cases = [
    [withChange({ port: closed }), `${hostname}:${closed}, database ${name}: connect ECONNREFUSED`],
    [withChange({ hostname: 'nowhere.invalid' }), `nowhere.invalid:${port}, database ${name}: getaddrinfo`],
    [withChange({}), `${hostname}:${port}, database ${name}: password authentication failed`],
    [
      withChange({ password: own, pathname: '/missing' }),
      `${hostname}:${port}, database missing: database "missing" does not`,
    ],
    [withChange({}).replace(`:${port}/`, ':sesame/'), 'DATABASE_URL is not a URL of Postgres'],
  ] as const
  for (const [databaseUrl, reason] of cases) {
    const { code, output, errors } = await startAndFail({ DATABASE_URL: databaseUrl })
    t.match({ code, output }, { code: 1, output: '' })
    t.equal(errors.length, 1)
    t.match(errors[0], reason)
    t.notMatch(errors[0], 'sesame')
    if (own !== '') t.notMatch(errors[0], own)
  }
})
