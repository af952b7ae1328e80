// The tests: npm test [-- [--durable] test/…/x.test.ts …]
// One real Postgres and one real Redis for the whole run; the last line is always "N passed, N failed".
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs, promisify } from 'node:util'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { findRedisServer, startRedisServer } from './helpers/servers/redis-server.ts'
import { createTapCounter } from './helpers/tap-count.ts'
import { createTemplate, dropTemplate } from './helpers/template.ts'

const projectFolder = join(import.meta.dirname, '..')
const tapProgram = join(projectFolder, 'node_modules', 'tap', 'dist', 'esm', 'run.mjs')
const cleanups: (() => unknown)[] = []
const totals = { passed: 0, failed: 0 }

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  // Whether this run's Postgres writes to disk before it answers; a test of a crash starts a server of its own.
  options: { durable: { type: 'boolean', default: false } },
})

// Ctrl-C reaches the tests by itself; what we started has to be put away all the same.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})

try {
  await buildTap()
  const runFolder = provideFolder()
  const databaseUrl = await providePostgres(join(runFolder, 'postgres'))
  const redisUrl = await provideRedis()
  await runTests({
    ...process.env,
    // What an interrupted test leaves behind goes with the run.
    TMPDIR: join(runFolder, 'tmp'),
    TEST_DATABASE_URL: databaseUrl,
    TEST_TEMPLATE_DATABASE: await provideTemplate(databaseUrl),
    REDIS_URL: redisUrl,
  })
} catch (error) {
  console.error(error)
  totals.failed++
}
for (const cleanup of cleanups.reverse()) {
  try {
    await cleanup()
  } catch (error) {
    console.error(error)
    totals.failed++
  }
}
if (totals.passed + totals.failed === 0) totals.failed++
process.exitCode = totals.failed > 0 ? 1 : 0
console.log(`${totals.passed} passed, ${totals.failed} failed`)

/** tap generates a module from its plugins; a fresh install has that of the default ones, which we cannot use. */
async function buildTap(): Promise<void> {
  const print = `import t from 'tap'; console.log(t.pluginSignature)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', print], {
    cwd: projectFolder,
  })
  if (stdout.includes('@tapjs/typescript'))
    await promisify(execFile)(process.execPath, [tapProgram, 'build'], { cwd: projectFolder })
}

/** A folder for all that the run writes, outside the checkout; the servers' users pass through it. */
function provideFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'purser-test-'))
  chmodSync(folder, 0o711)
  mkdirSync(join(folder, 'tmp'), { mode: 0o711 })
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function providePostgres(dataDir: string): Promise<string> {
  if (process.env['TEST_DATABASE_URL']) return process.env['TEST_DATABASE_URL']
  const fast = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }
  const settings = { max_connections: '300', ...(options.durable ? {} : fast) }
  const postgres = await startEmbeddedPostgres({ dataDir, settings })
  cleanups.push(() => postgres.stop())
  return postgres.databaseUrl
}

async function provideRedis(): Promise<string> {
  if (process.env['REDIS_URL']) return process.env['REDIS_URL']
  await findRedisServer()
  const redis = await startRedisServer()
  cleanups.push(() => redis.kill())
  return redis.url
}

async function provideTemplate(databaseUrl: string): Promise<string> {
  const name = `purser_template_${randomBytes(6).toString('hex')}`
  await createTemplate(databaseUrl, name)
  cleanups.push(() => dropTemplate(databaseUrl, name))
  return name
}

async function runTests(env: NodeJS.ProcessEnv): Promise<void> {
  const tap = spawn(process.execPath, [tapProgram, 'run', '--reporter=tap', ...files], {
    cwd: projectFolder,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = once(tap, 'close') as Promise<[number | null]>
  const stop = () => tap.kill('SIGTERM')
  process.on('SIGTERM', stop)
  const count = createTapCounter()
  for await (const line of createInterface({ input: tap.stdout })) {
    const result = count(line)
    if (!result) continue
    const { file, passed, failed, durationMs, failures } = result
    totals.passed += passed
    totals.failed += failed
    console.log(
      `${failed > 0 ? 'FAIL' : 'ok  '} ${file}: ${passed} passed, ${failed} failed (${(durationMs / 1000).toFixed(1)} s)`,
    )
    if (failed > 0) console.log(failures.join('\n'))
  }
  const [code] = await gone
  process.off('SIGTERM', stop)
  // tap itself failed, or was ended before all files were through.
  if (code !== 0 && totals.failed === 0) totals.failed++
}
