// npm run guards [-- --only <name>] [--list]: takes one guard of the money away at a time, in a copy of the tree, and shows
// that the tests which stand for it turn red. A guard that can go without a test noticing is a failure.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { GUARDS, type Guard } from './guard-list.ts'
import { without } from './without.ts'

const root = join(import.meta.dirname, '..', '..')
const COPIED = ['bench', 'migrations', 'openapi.yaml', 'package.json', 'src', 'test', 'tsconfig.json']
/** A run that hangs without its guard is as red as one that fails. */
const SECONDS_MAX = 240
/** Smaller than usual: a guard that is gone shows at once. The same choices in every run: what it shows does not hang on luck. */
const SIZES = { PURSER_TEST_SEED: '1', PURSER_TEST_LOCK_CALLS: '1000', PURSER_TEST_MODEL_RUNS: '12' }

const help = `Usage: npm run guards [-- --only <name> ...] [-- --list]

Runs every guard, or only the named ones, one after the other; each takes ten seconds to some minutes. First the same tests
run on the tree as it is, where they must be green. Exits 0 when every guard that was taken away was missed by its tests,
1 when one was not, 2 for an unknown name.

  --only <name>  a guard of the list; may be given several times
  --list         names the guards, and what each is for
  --help         this text
`

type Outcome = { passed: number; failed: number; seconds: number; first: string }

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
process.exitCode = await main()

async function main(): Promise<number> {
  if (options.help) {
    console.log(help)
    return 0
  }
  const unknown = (options.only ?? []).filter((name) => !GUARDS.some((guard) => guard.name === name))
  if (unknown.length > 0) {
    console.error(`No guard is called ${unknown.join(', ')}; --list names them.`)
    return 2
  }
  const guards = GUARDS.filter(({ name }) => options.only?.includes(name) ?? true)
  if (options.list) {
    for (const { name, why } of guards) console.log(`${name.padEnd(28)} ${why}`)
    return 0
  }
  // All are looked up before any is run: a guard that has moved is found at once.
  for (const guard of guards) without(guard)

  console.log('The tree as it is:')
  const files = [...new Set(guards.flatMap(({ tests }) => tests))]
  const whole = await runTests(null, files)
  console.log(`  ${whole.passed} passed, ${whole.failed} failed (${whole.seconds} s)`)
  if (whole.failed > 0) {
    console.error(`The tests are red with every guard in its place: ${whole.first}`)
    return 1
  }
  const rows: string[][] = []
  for (const [n, guard] of guards.entries()) {
    process.stdout.write(`${n + 1}/${guards.length} without ${guard.name} ...`)
    const outcome = await runTests(guard, guard.tests)
    const missed = outcome.failed > 0
    console.log(` ${missed ? 'missed' : 'NOT MISSED'} (${outcome.seconds} s)`)
    rows.push([guard.name, guard.file, missed ? `red: ${outcome.first}` : 'STILL GREEN'])
  }
  console.log(`\n${['guard', 'taken out of', 'result'].map((head) => `| ${head} `).join('')}|\n| --- | --- | --- |`)
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
  const kept = rows.filter((row) => row[2] === 'STILL GREEN').length
  console.log(`\n${rows.length - kept} of ${rows.length} guards are missed when they are gone`)
  return kept === 0 ? 0 : 1
}

async function runTests(guard: Guard | null, files: string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'purser-guard-'))
  chmodSync(folder, 0o711)
  try {
    for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true })
    // What the tests unpack there once serves every run; a checkout that has run none yet has no such folder.
    mkdirSync(join(root, '.cache'), { recursive: true })
    for (const name of ['node_modules', '.cache']) symlinkSync(join(root, name), join(folder, name))
    for (const [path, text] of guard === null ? [] : without(guard)) writeFileSync(join(folder, path), text)
    return await runIn(folder, files)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runIn(folder: string, files: string[]): Promise<Outcome> {
  const begun = performance.now()
  const child = spawn(process.execPath, ['test/run.ts', ...files], {
    cwd: folder,
    env: { ...SIZES, ...process.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: a signal reaches the tests, as Ctrl-C does. The run itself only waits for them, puts its servers
    // away, and counts the files that did not come to their end as failed.
    detached: true,
  })
  child.stderr.resume()
  const stop = () => process.kill(-child.pid!, 'SIGTERM')
  const timer = setTimeout(stop, SECONDS_MAX * 1000)
  process.once('SIGINT', stop)
  const outcome = { passed: 0, failed: 0, first: '' }
  const gone = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout })) {
    // The name of a test, then what failed inside it.
    const [, name] = /^ {4}not ok (.+?)(?: > .*)?$/.exec(line) ?? []
    if (name !== undefined && outcome.first === '') outcome.first = name
    const [, passed, failed] = /^(\d+) passed, (\d+) failed$/.exec(line) ?? []
    if (passed !== undefined) Object.assign(outcome, { passed: Number(passed), failed: Number(failed) })
  }
  await gone
  clearTimeout(timer)
  process.off('SIGINT', stop)
  if (outcome.passed + outcome.failed === 0) outcome.failed = 1
  if (outcome.failed > 0 && outcome.first === '') outcome.first = 'the run did not come to its end'
  return { ...outcome, seconds: Math.round((performance.now() - begun) / 1000) }
}
