import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { remedyOf } from '../../../src/services/integrity.ts'
import { createDatabase, createEmptyDatabase } from '../../helpers/database.ts'
import { makeDataDir } from '../../helpers/servers/embedded.ts'
import { startService } from '../../helpers/servers/service.ts'

const root = join(import.meta.dirname, '..', '..', '..')
const database = await createDatabase(t)
const service = await startService(t, database.url)
const held = await service.call('POST', '/v1/reservations', {
  resource_type: 'llm',
  tenant_id: 'acme',
  estimated_cost_usd: 1,
})
const { rows } = await database.pool.query<{ id: string }>(
  'select quota_period_id as id from copilot_internal.quota_periods',
)
const subject = `quota_period ${rows[0]!.id}`

/** Breaks I1 by hand while the work runs. */
async function whileBroken(work: () => Promise<void>): Promise<void> {
  await database.pool.query('update copilot_internal.quota_periods set reserved = reserved + 2')
  try {
    await work()
  } finally {
    await database.pool.query('update copilot_internal.quota_periods set reserved = reserved - 2')
  }
}

/** Runs the command in its own process. */
function integrity(args: string[], env: Record<string, string>) {
  const { DATABASE_URL: _, ...rest } = process.env
  const program = join(root, 'src', 'cli', 'integrity.ts')
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [program, ...args], { env: { ...rest, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
    })
  })
}

const NOT_MIGRATED = 'The database is not migrated: npm run migrate -- up\n'
const withDatabase = { DATABASE_URL: database.url }

t.test('admins and viewers of all tenants can check the books', async (t) => {
  t.equal(held.status, 201)
  for (const headers of [undefined, await service.keyFor('viewer')]) {
    const answer = await service.call('GET', '/v1/integrity', undefined, headers)
    t.equal(answer.status, 200)
    t.same(answer.json, { healthy: true, broken: [] })
  }
})

t.test('services and bound keys cannot check the books', async (t) => {
  const others = [
    await service.keyFor('service'),
    await service.keyFor('service', 'acme'),
    await service.keyFor('viewer', 'acme'),
  ]
  for (const headers of others) {
    t.match(await service.call('GET', '/v1/integrity', undefined, headers), {
      status: 403,
      json: { code: 'forbidden' },
    })
  }
  t.match(await service.call('GET', '/v1/integrity', undefined, { authorization: '' }), { status: 401 })
})

t.test('broken books answer 200 with the invariant, the row and how the row breaks it', async (t) => {
  await whileBroken(async () => {
    const answer = await service.call('GET', '/v1/integrity')
    t.equal(answer.status, 200)
    t.same(answer.json, {
      healthy: false,
      broken: [{ invariant: 'I1', subject, detail: 'reserved is 3, its open holds sum to 1' }],
    })
  })
})

t.test('the command says that the books are healthy, and exits with 0', async (t) => {
  const expected = { code: 0, stdout: 'The books are healthy: every invariant holds.\n', stderr: '' }
  t.same(await integrity([], withDatabase), expected)
  const { code, stdout } = await integrity(['--json'], withDatabase)
  t.equal(code, 0)
  t.same(JSON.parse(stdout), { healthy: true, broken: [] })
})

t.test('the command prints each violation with its remedy, and exits with 1', async (t) => {
  await whileBroken(async () => {
    const told = await integrity([], withDatabase)
    t.match(told, { code: 1, stderr: '' })
    t.same(told.stdout.split('\n'), [
      'I1 is broken in 1 place',
      `  ${subject}: reserved is 3, its open holds sum to 1`,
      `  What to do: ${remedyOf('I1')}`,
      '',
    ])
    const { code, stdout } = await integrity(['--json'], withDatabase)
    t.equal(code, 1)
    t.match(JSON.parse(stdout), { healthy: false, broken: [{ invariant: 'I1', subject }] })
  })
})

t.test('every invariant has a remedy in the command and in docs/operations.md', async (t) => {
  const source = readFileSync(join(root, 'migrations', 'functions', 'check_integrity.sql'), 'utf8')
  const names = [...new Set([...source.matchAll(/^\s*select '(\w+)',/gm)].map(([, name]) => name!))]
  t.ok(names.includes('I1') && names.includes('keys'))
  const guide = readFileSync(join(root, 'docs', 'operations.md'), 'utf8')
  for (const name of names) {
    t.not(remedyOf(name), remedyOf('of none'), name)
    t.match(guide, `\n| ${name} |`)
  }
})

t.test('without DATABASE_URL the command checks the embedded database in the data folder', async (t) => {
  const env = { PURSER_DATA_DIR: makeDataDir(t) }
  t.match(await integrity([], env), { code: 1, stdout: '', stderr: NOT_MIGRATED })
  await new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(root, 'src', 'cli', 'migrate.ts'), 'up'],
      { env: { ...process.env, ...env, DATABASE_URL: '' } },
      resolve,
    )
  })
  t.match(await integrity([], env), { code: 0, stdout: /healthy/ })
})

t.test('a database that cannot be checked is reported in one line, with exit code 1', async (t) => {
  const { url } = await createEmptyDatabase(t)
  t.same(await integrity([], { DATABASE_URL: url }), { code: 1, stdout: '', stderr: NOT_MIGRATED })
  const away = new URL(url)
  away.port = '1'
  t.match(await integrity([], { DATABASE_URL: away.href }), {
    code: 1,
    stdout: '',
    stderr: /^Postgres cannot be used at /,
  })
})

t.test('wrong arguments print the help and exit with 2', async (t) => {
  for (const args of [['now'], ['--force']])
    t.match(await integrity(args, {}), { code: 2, stderr: /Usage: npm run integrity/ }, args.join(' '))
  t.match(await integrity(['--help'], {}), { code: 0, stdout: /^Usage: npm run integrity/ })
})
