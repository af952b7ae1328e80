// npm run guards [-- --only <name>] [--list]: removes one guard of the money at a time in a copy of the tree, and runs the
// tests that must detect this. A removal that no test detects is a failure.
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
const COPIED = ['demo', 'migrations', 'openapi.yaml', 'package.json', 'src', 'test', 'tsconfig.json']
/** A run that takes longer is stopped and counts as failed: without the guard it hangs, for instance in a deadlock. */
const SECONDS_MAX = 240
/** The same for the tests of all guards together, on the unchanged tree. */
const ALL_SECONDS_MAX = 1_800
/** Smaller than usual, because a missing guard shows soon. A fixed seed, so that the result does not depend on luck. */
const SIZES = { PURSER_TEST_SEED: '1', PURSER_TEST_LOCK_CALLS: '1000', PURSER_TEST_MODEL_RUNS: '12' }

const help = `Usage: npm run guards [-- --only <name> ...] [-- --list]

Removes every guard, or only the named ones, one after the other, and runs the tests of each; one takes ten seconds to some
minutes. First the same tests run on the unchanged tree, where they must pass. Prints "detected" or "NOT DETECTED" for each
removal. Exits 0 when the tests detected every removal, 1 when they did not, 2 for an unknown name.

  --only <name>  a guard of the list; may be given several times
  --list         prints the guards, and what goes wrong without each
  --help         this text
`

type Outcome = { passed: number; failed: number; seconds: number; firstFailure: string }

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
    for (const { name, why } of guards) console.log(`${name.padEnd(40)} ${why}`)
    return 0
  }
  // All are looked up first, so that a guard whose text has changed is reported before a long run.
  for (const guard of guards) without(guard)

  console.log('The unchanged tree:')
  const files = [...new Set(guards.flatMap(({ tests }) => tests))]
  const unchanged = await runTests(null, files)
  console.log(`  ${unchanged.passed} passed, ${unchanged.failed} failed (${unchanged.seconds} s)`)
  if (unchanged.failed > 0) {
    console.error(`The tests fail without any removal: ${unchanged.firstFailure}`)
    return 1
  }
  const undetected: string[] = []
  for (const [n, guard] of guards.entries()) {
    process.stdout.write(`[${n + 1}/${guards.length}] without ${guard.name} (${guard.file}): `)
    const { failed, firstFailure, seconds } = await runTests(guard, guard.tests)
    console.log(failed > 0 ? `detected by "${firstFailure}" (${seconds} s)` : `NOT DETECTED (${seconds} s)`)
    if (failed === 0) undetected.push(guard.name)
  }
  console.log(
    undetected.length === 0
      ? guards.length === 1
        ? 'The removal was detected.'
        : `All ${guards.length} removals were detected.`
      : `${undetected.length} of ${guards.length} removals were NOT detected: ${undetected.join(', ')}.`,
  )
  return undetected.length === 0 ? 0 : 1
}

async function runTests(guard: Guard | null, files: string[]): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'purser-guard-'))
  chmodSync(folder, 0o711)
  try {
    for (const name of COPIED) cpSync(join(root, name), join(folder, name), { recursive: true })
    // All runs share the programs that tests unpack into .cache; a checkout without a test run lacks the folder.
    mkdirSync(join(root, '.cache'), { recursive: true })
    for (const name of ['node_modules', '.cache']) symlinkSync(join(root, name), join(folder, name))
    for (const [path, text] of guard === null ? [] : without(guard)) writeFileSync(join(folder, path), text)
    return await runIn(folder, files, guard === null ? ALL_SECONDS_MAX : SECONDS_MAX)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runIn(folder: string, files: string[], secondsMax: number): Promise<Outcome> {
  const begun = performance.now()
  const child = spawn(process.execPath, ['test/run.ts', ...files], {
    cwd: folder,
    // The compiled modules of a copy are of no use to the next one.
    env: { ...SIZES, NODE_COMPILE_CACHE: join(folder, '.compiled'), ...process.env },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  // The run ends its test files, stops its servers, and counts the files that have not ended as failed.
  const timer = setTimeout(() => child.kill('SIGTERM'), secondsMax * 1000)
  const outcome = { passed: 0, failed: 0, firstFailure: '' }
  const closed = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout })) {
    // The name of a test, then what failed inside it.
    const [, name] = /^ {4}not ok (.+?)(?: > .*)?$/.exec(line) ?? []
    if (name !== undefined && outcome.firstFailure === '') outcome.firstFailure = name
    const [, passed, failed] = /^(\d+) passed, (\d+) failed$/.exec(line) ?? []
    if (passed !== undefined) Object.assign(outcome, { passed: Number(passed), failed: Number(failed) })
  }
  await closed
  clearTimeout(timer)
  if (outcome.passed + outcome.failed === 0) outcome.failed = 1
  if (outcome.failed > 0 && outcome.firstFailure === '')
    outcome.firstFailure = `the limit of ${secondsMax} s, or a crash`
  return { ...outcome, seconds: Math.round((performance.now() - begun) / 1000) }
}
