import { execFile } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { describeCatalog } from '../helpers/money/catalog.ts'
import { createEmptyDatabase } from '../helpers/database.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'

interface Outcome {
  code: number
  stdout: string
  stderr: string
}

const program = join(import.meta.dirname, '..', '..', 'src', 'cli', 'migrate.ts')

/** Runs the command in its own process. */
function migrate(args: string[], env: Record<string, string>): Promise<Outcome> {
  const { DATABASE_URL: _, ...rest } = process.env
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { env: { ...rest, ...env } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
    })
  })
}

t.test('two processes may migrate the same database at once', async (t) => {
  const { url, pool } = await createEmptyDatabase(t)
  const runs = await Promise.all([1, 2].map(() => migrate(['up'], { DATABASE_URL: url })))
  t.same(
    runs.map(({ code, stderr }) => ({ code, stderr })),
    [
      { code: 0, stderr: '' },
      { code: 0, stderr: '' },
    ],
  )
  t.equal(runs.filter(({ stdout }) => stdout === 'nothing to do\n').length, 1)
  t.not((await describeCatalog(pool)).length, 0)
})

t.test('up, status and down print what they did', async (t) => {
  const { url, pool } = await createEmptyDatabase(t)
  const env = { DATABASE_URL: url }
  t.match(await migrate(['status'], env), { code: 0, stdout: /^pending {19}0001_/ })
  t.match(await migrate(['up'], env), { code: 0, stdout: /^up 0001_\w+ \(\d+ ms\)\n/ })
  t.match(await migrate(['status'], env), { code: 0, stdout: /^\d{4}-\d\d-\d\dT[\d:.]+Z {2}0001_/ })
  const { stdout } = await migrate(['status', '--json'], env)
  const status = JSON.parse(stdout) as { migrations: { name: string; appliedAt: string }[] }
  t.match(status, { changedFunctionFiles: [], foreignObjects: [] })
  const last = status.migrations.at(-1)!.name
  t.match(await migrate(['down'], env), { code: 0, stdout: new RegExp(`^down ${last} \\(\\d+ ms\\)\n$`) })
  t.match(await migrate(['down', '--all'], env), { code: 0, stdout: /down 0001_\w+ \(\d+ ms\)\n$/ })
  t.same(await describeCatalog(pool), [])
})

t.test('without DATABASE_URL it migrates the database in the data folder', async (t) => {
  const env = { PURSER_DATA_DIR: makeDataDir(t) }
  t.match(await migrate(['up'], env), { code: 0, stdout: /^up 0001_/ })
  t.match(await migrate(['up'], env), { code: 0, stdout: 'nothing to do\n' })
})

t.test('a failure prints its reason and exits with 1', async (t) => {
  const { url, pool } = await createEmptyDatabase(t)
  await pool.query('create schema copilot_internal; create table copilot_internal.left_table ()')
  t.match(await migrate(['up'], { DATABASE_URL: url }), {
    code: 1,
    stdout: '',
    stderr:
      'Nothing was changed: the schema holds objects that these migrations did not make:\n  table copilot_internal.left_table\n',
  })
})

t.test('wrong arguments exit with 2 and show the help', async (t) => {
  const wrong = [[], ['sideways'], ['up', 'twice'], ['up', '--all'], ['down', '--json'], ['up', '--force']]
  for (const args of wrong)
    t.match(await migrate(args, {}), { code: 2, stderr: /Usage: npm run migrate/ }, args.join(' '))
  t.match(await migrate(['--help'], {}), { code: 0, stdout: /^Usage: npm run migrate/ })
})
