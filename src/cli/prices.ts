import { userInfo } from 'node:os'
import { parseArgs } from 'node:util'
import { readSetting } from '../config.ts'
import type { Db } from '../db/pool/connection.ts'
import { DATABASE_HELP } from './database-url.ts'
import { rerateRange, rerateRecords } from './rerate-prices.ts'
import { syncPrices, verifyPrices, type SyncOutcome, type Verification } from '../prices/sync.ts'
import { announcePrices } from '../services/prices/announce-prices.ts'
import { disagreementAnswer, syncAnswer } from '../services/prices/price-sync.ts'
import { runCommand, type Command } from './run-command.ts'

const help = `Usage: npm run prices -- <command> [options]

Commands
  sync     read package, feed and overlay, and publish what is agreed as new versions
  diff     print what sync would publish, and publish nothing
  verify   compare the prices in force with the second source
  rerate   list cost records whose cost would differ at the prices known now for their time; also records that were
           booked without a price, or whose usage could not be read then. --apply books the corrections

Options
  --feed <file or URL>     sync, diff: newer data in the package's form; "none" turns it off
                           (default: PURSER_PRICE_FEED, or else the package's own address, which may be out of reach)
  --second <file or URL>   what to compare with: dated facts, or the form of models.dev
                           (default: the facts in this release)
  --from <day or time>     rerate: records from then on, for example 2026-11-01 or 2026-11-01T06:00:00Z
  --to <day or time>       rerate: records before then
  --model <name>           rerate: only this model, by its name in the records
  --apply                  rerate: book each correction (a reversal and the real cost) in the periods of its record.
                           Safe to run again, even after a failure: nothing is booked twice
  --json                   print the outcome as JSON on standard output
  --help                   this text

Rates are never edited: a change counts from its date, or from now on if it has none. A change is listed but not
published if the second source names another figure, if the change is implausible, or if an administrator's price is in
force. An administrator decides these with POST /v1/pricing/models.

${DATABASE_HELP} It must be migrated.
Running instances learn of new prices through REDIS_URL.
Exit code: 0 done, 1 failed (nothing changed, except what rerate --apply had booked) or verify found a disagreement,
2 wrong arguments.
`

type Options = {
  feed?: string
  second?: string
  from?: string
  to?: string
  model?: string
  apply?: boolean
  json?: boolean
  help?: boolean
}

const COMMANDS = ['sync', 'diff', 'verify', 'rerate'] as const

/** The commands that an option goes with. The others go with all. */
const GOES_WITH: Partial<Record<keyof Options, readonly string[]>> = {
  feed: ['sync', 'diff'],
  second: ['sync', 'diff', 'verify'],
  from: ['rerate'],
  to: ['rerate'],
  model: ['rerate'],
  apply: ['rerate'],
}

/** Each page of records to be rated is one statement. */
const STATEMENT_MS = 30_000

process.exitCode = await runCommand(help, parsePrices, { statementMs: STATEMENT_MS })

function parsePrices(args: string[]): Command {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      feed: { type: 'string' },
      second: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      model: { type: 'string' },
      apply: { type: 'boolean' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const [command, ...rest] = positionals
  if (command === undefined) throw new Error('A command is missing')
  if (!COMMANDS.some((known) => known === command)) throw new Error(`Unknown command: ${command}`)
  if (rest.length > 0) throw new Error(`Unexpected argument: ${rest[0]}`)
  for (const name of Object.keys(values) as (keyof Options)[]) {
    const commands = GOES_WITH[name]
    if (commands !== undefined && !commands.includes(command))
      throw new Error(`--${name} goes with ${commands.join(' and ')}`)
  }
  if (command === 'verify') return (db) => comparePrices(db, values)
  if (command === 'rerate') {
    const range = rerateRange(values)
    return (db) => rerateRecords(db, values, range)
  }
  return (db) => sync(db, values, command === 'diff')
}

async function sync(db: Db, values: Options, dryRun: boolean): Promise<number> {
  const outcome = await syncPrices(db, {
    actor: { principal: `cli:${userInfo().username}`, ip: null, reason: null },
    dryRun,
    feed: values.feed ?? readSetting(process.env, 'PURSER_PRICE_FEED'),
    needsFeed: values.feed !== undefined,
    second: values.second,
    tell: reportProgress,
  })
  const redisUrl = readSetting(process.env, 'REDIS_URL')
  if (!dryRun && outcome.added.length + outcome.aliases > 0 && redisUrl !== undefined) {
    const notified = await announcePrices(redisUrl)
    reportProgress(
      notified ? 'running instances were notified' : 'Redis is out of reach: running instances notice within a minute',
    )
  }
  print(
    values.json ? JSON.stringify({ dry_run: dryRun, ...syncAnswer(outcome) }, null, 2) : describePrice(outcome, dryRun),
  )
  return 0
}

async function comparePrices(db: Db, values: Options): Promise<number> {
  const found = await verifyPrices(db, values.second)
  const json = { ...found, disagreements: found.disagreements.map(disagreementAnswer) }
  print(values.json ? JSON.stringify(json, null, 2) : describeVerification(found))
  return found.disagreements.length === 0 ? 0 : 1
}

function describePrice(outcome: SyncOutcome, dryRun: boolean): string {
  const rateText = (usd: string | null) => usd ?? 'none'
  const lines = [
    `${dryRun ? 'Would add' : 'Added'} ${outcome.added.length} versions and ${outcome.aliases} aliases; ${outcome.unchanged} versions are unchanged.`,
    ...outcome.added.map(({ provider, model, effective_date, source, changes }) => {
      const changed = changes.map(
        ({ bucket, from_usd, to_usd }) => `${bucket} ${rateText(from_usd)} -> ${rateText(to_usd)}`,
      )
      return `  ${provider} ${model} from ${effective_date} (${source}): ${changed.join(', ')}`
    }),
    ...disagreementLines(outcome.disagreements, 'Disagreements that wait for an administrator'),
  ]
  if (outcome.held_back.length > 0) {
    lines.push('Held back:')
    for (const { provider, model, reason } of outcome.held_back) lines.push(`  ${provider} ${model}: ${reason}`)
  }
  if (outcome.skipped.length > 0) {
    lines.push('Skipped, because usage does not count what they are priced by:')
    for (const { provider, model, reason } of outcome.skipped) lines.push(`  ${provider} ${model}: ${reason}`)
  }
  return lines.join('\n')
}

function describeVerification({ compared, disagreements, missing }: Verification): string {
  return [
    `${compared} models compared, ${new Set(disagreements.map(({ provider, model }) => `${provider} ${model}`)).size} of them disagree, ${missing.length} have no price here.`,
    ...disagreementLines(disagreements, 'Disagreements'),
    ...(missing.length > 0 ? ['Without a price:'] : []),
    ...missing.map(({ provider, model }) => `  ${provider} ${model}`),
  ].join('\n')
}

function disagreementLines(disagreements: SyncOutcome['disagreements'], title: string): string[] {
  if (disagreements.length === 0) return []
  return [
    `${title}:`,
    ...disagreements.map(
      ({ provider, model, bucket, package_usd, second_usd }) =>
        `  ${provider} ${model} ${bucket}: ${package_usd ?? 'none'} here, ${second_usd} by the second source`,
    ),
  ]
}

/** Reports progress on standard error: standard output is only for the outcome. */
function reportProgress(line: string): void {
  process.stderr.write(`${line}\n`)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
