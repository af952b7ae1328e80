// `npm run check`: everything about the code that can be judged without running it, two parts at a time.

import { spawn } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A part that hangs is ended and counts as failed. */
const partSecondsMax = 120
/** Beyond this many characters the rest of a part's output is dropped. */
const outputCharsMax = 40_000
const partsAtOnceMax = 2

const root = dirname(dirname(fileURLToPath(import.meta.url)))

interface Part {
  name: string
  checks: string
  /** Run one after the other; all of them run, so that one failure does not hide another. */
  commands: () => string[][]
  /** Files without which there is nothing to check: their absence is a failure. */
  needs?: string[]
}

interface Outcome {
  part: Part
  passed: boolean
  output: string
  seconds: number
}

// The slowest first, so that two cores finish together.
const parts: Part[] = [
  { name: 'types', checks: 'tsc over src, test, bench and demo', commands: () => [['tsc', '--noEmit']] },
  {
    name: 'unused',
    checks: 'files, exports and dependencies that nobody uses',
    commands: () => [['knip', '--no-progress', '--no-config-hints']],
  },
  {
    name: 'openapi',
    checks: 'openapi.yaml is what the schemas say',
    commands: () => [[process.execPath, 'src/cli/openapi.ts', '--check']],
    needs: ['src/cli/openapi.ts', 'openapi.yaml'],
  },
  { name: 'lint', checks: 'promises and types', commands: () => [['oxlint']] },
  {
    name: 'layers',
    checks: 'the arrows between the layers of src',
    commands: () => [['depcruise', '--config', '.dependency-cruiser.mjs', 'src']],
  },
  {
    name: 'migrations',
    checks: 'locks and traps in migrations/*.sql',
    commands: squawkCommands,
    needs: ['migrations'],
  },
  {
    name: 'contract',
    checks: 'openapi.yaml is sound',
    commands: () => [['redocly', 'lint', '--config', '.redocly.yaml', '--format', 'stylish', 'openapi.yaml']],
    needs: ['openapi.yaml'],
  },
  { name: 'format', checks: 'oxfmt; `npm run format` mends it', commands: () => [['oxfmt', '--check', '.']] },
]

/** Up files and function bodies follow `.squawk.toml`; files that go down may also drop what their up file made. */
function squawkCommands(): string[][] {
  const config = readFileSync(join(root, '.squawk.toml'), 'utf8')
  const excluded = [...config.matchAll(/^\s+"([a-z-]+)",$/gm)].map((match) => match[1])
  const files = (pattern: string) => globSync(pattern, { cwd: root }).toSorted()
  const up = [...files('migrations/*.up.sql'), ...files('migrations/functions/**/*.sql')]
  const down = files('migrations/*.down.sql')
  const exclude = `--exclude=${[...excluded, 'ban-drop-table', 'ban-drop-column'].join(',')}`
  return [
    ['squawk', '--reporter', 'gcc', ...up],
    ['squawk', '--reporter', 'gcc', exclude, ...down],
  ]
}

const help = `Usage: npm run check [-- part ...]

Runs every part, or only the named ones. Exits 0 when all pass, 1 when one fails, 2 for an unknown name.

${parts.map((part) => `  ${part.name.padEnd(12)}${part.checks}`).join('\n')}
`

async function main(names: string[]): Promise<number> {
  if (names.includes('--help') || names.includes('-h')) {
    process.stdout.write(help)
    return 0
  }
  const unknown = names.filter((name) => !parts.some((part) => part.name === name))
  if (unknown.length > 0) {
    process.stderr.write(`check: no part is called ${unknown.join(', ')}\n\n${help}`)
    return 2
  }

  const startedAt = performance.now()
  const chosen = names.length === 0 ? parts : parts.filter((part) => names.includes(part.name))
  const outcomes = await runAll(chosen)
  const failed = outcomes.filter((outcome) => !outcome.passed)
  for (const { part, output } of failed)
    process.stdout.write(`\n--- ${part.name}: ${part.checks}\n${output.trimEnd()}\n`)

  const took = seconds(startedAt).toFixed(1)
  process.stdout.write(
    failed.length === 0
      ? `\ncheck: ${outcomes.length} of ${outcomes.length} parts passed (${took} s)\n`
      : `\ncheck: ${failed.length} of ${outcomes.length} parts failed: ${failed.map((outcome) => outcome.part.name).join(', ')} (${took} s)\n`,
  )
  return failed.length === 0 ? 0 : 1
}

/** Answers in the order of `chosen`; prints a line as each part ends. */
async function runAll(chosen: Part[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  const queue = chosen.values()
  const worker = async () => {
    for (const part of queue) {
      const outcome = await runPart(part)
      outcomes.push(outcome)
      process.stdout.write(
        `${outcome.passed ? 'ok  ' : 'FAIL'}  ${part.name.padEnd(12)}${outcome.seconds.toFixed(1).padStart(5)} s  ${part.checks}\n`,
      )
    }
  }
  await Promise.all(Array.from({ length: Math.min(partsAtOnceMax, availableParallelism()) }, worker))
  return chosen.flatMap((part) => outcomes.filter((outcome) => outcome.part === part))
}

async function runPart(part: Part): Promise<Outcome> {
  const startedAt = performance.now()
  const missing = (part.needs ?? []).filter((path) => !existsSync(join(root, path)))
  if (missing.length > 0) {
    return { part, passed: false, output: `${missing.join(' and ')} is missing`, seconds: seconds(startedAt) }
  }
  let passed = true
  let output = ''
  for (const command of part.commands()) {
    const result = await run(command)
    passed &&= result.passed
    output += result.output
  }
  return { part, passed, output, seconds: seconds(startedAt) }
}

function run([program, ...args]: string[]): Promise<{ passed: boolean; output: string }> {
  return new Promise((resolve) => {
    let output = ''
    const child = spawn(program ?? '', args, {
      cwd: root,
      env: {
        ...process.env,
        PATH: `${join(root, 'node_modules', '.bin')}${delimiter}${process.env['PATH'] ?? ''}`,
        NO_COLOR: '1',
        REDOCLY_TELEMETRY: 'off',
        REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: partSecondsMax * 1000,
      killSignal: 'SIGKILL',
    })
    const collect = (chunk: Buffer) => {
      if (output.length < outputCharsMax) output += chunk.toString('utf8')
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.on('error', (error) => resolve({ passed: false, output: `${output}${String(error)}\n` }))
    child.on('close', (code, signal) => {
      if (signal !== null) output += `\nended by ${signal}; a part may take ${partSecondsMax} s\n`
      resolve({ passed: code === 0, output })
    })
  })
}

function seconds(startedAt: number): number {
  return (performance.now() - startedAt) / 1000
}

process.exitCode = await main(process.argv.slice(2))
