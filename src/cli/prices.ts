import { userInfo } from 'node:os'
import { parseArgs } from 'node:util'
import { readSetting } from '../config.ts'
import { connect } from '../db/pool/connection.ts'
import { reachDatabase } from '../db/pool/reach.ts'
import { DATABASE_HELP, withDatabaseUrl } from './database-url.ts'
import type { Db } from '../db/pool/connection.ts'
import { rerateRange, rerateRecords } from './rerate-prices.ts'
import { syncPrices, verifyPrices, type SyncOutcome, type Verification } from '../prices/sync.ts'
import { announcePrices } from '../services/prices/announce-prices.ts'
import { disagreementAnswer, syncAnswer } from '../services/prices/price-sync.ts'

const help = `Usage: npm run prices -- <command> [options]

Commands
  sync     read package, feed and overlay, and publish what is agreed as new versions
  diff     the same as a dry run: print what sync would publish, and publish nothing
  verify   compare the prices in force with the second source
  rerate   list the records of cost that would cost otherwise by the prices known by now for their time, those that
           were booked without a price, or whose usage could not be read, among them; --apply books corrections

Options
  --feed <file or URL>     sync, diff: newer data in the package's form; "none" asks for none
                           (PURSER_PRICE_FEED, or else the package's own address, which may be out of reach)
  --second <file or URL>   what to compare with: dated facts, or the form of models.dev (the release's own facts)
  --from <day or time>     rerate: records that occurred from then on, as 2026-11-01 or 2026-11-01T06:00:00Z
  --to <day or time>       rerate: and before then
  --model <name>           rerate: of this model only, by the name that stands in the records
  --apply                  rerate: book each correction, a reversal and the real cost, in the periods of its record.
                           Run again, after a failure too, it books nothing twice
  --json                   the outcome as JSON on standard output
  --help                   this text

Rates are never edited: a change counts from its date, or from now on where it has none. Where the second source names
another figure, where a change is absurd, or where an administrator's price stands, nothing is published: the list says
so, and POST /v1/pricing/models decides.

${DATABASE_HELP} It has to be migrated.
Running instances hear of new prices over REDIS_URL.
Exit code: 0 done, 1 failed (nothing is changed, but what rerate --apply has booked) or verify found a disagreement, 2 wrong
arguments.
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

/** Which commands an option goes with; the others go with all. */
const GOES_WITH: Partial<Record<keyof Options, readonly string[]>> = {
  feed: ['sync', 'diff'],
  second: ['sync', 'diff', 'verify'],
  from: ['rerate'],
  to: ['rerate'],
  model: ['rerate'],
  apply: ['rerate'],
}

/** A page of records to be rated is one statement. */
const STATEMENT_MS = 30_000

process.exitCode = await main()

async function main(): Promise<number> {
  let values: Options
  let command: string | undefined
  try {
    ;({ values, command } = parsePrices(process.argv.slice(2)))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`)
    return 2
  }
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  try {
    let exitCode = 0
    await withDatabaseUrl(async (databaseUrl) => {
      await reachDatabase(databaseUrl)
      const db = connect(databaseUrl, { connectionsMax: 1, statementMs: STATEMENT_MS })
      try {
        exitCode = await run(db, command, values)
      } finally {
        await db.destroy()
      }
    })
    return exitCode
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return 1
  }
}

function run(db: Db, command: string | undefined, values: Options): Promise<number> {
  if (command === 'verify') return comparePrices(db, values)
  if (command === 'rerate') return rerateRecords(db, values, rerateRange(values))
  return sync(db, values, command === 'diff')
}

function parsePrices(args: string[]): { values: Options; command: string | undefined } {
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
  const [command, ...rest] = positionals
  if (!values.help) {
    if (command === undefined) throw new Error('A command is missing')
    if (!COMMANDS.some((known) => known === command)) throw new Error(`Unknown command: ${command}`)
    if (rest.length > 0) throw new Error(`Unexpected argument: ${rest[0]}`)
    for (const name of Object.keys(values) as (keyof Options)[]) {
      const commands = GOES_WITH[name]
      if (commands !== undefined && !commands.includes(command))
        throw new Error(`--${name} goes with ${commands.join(' and ')}`)
    }
    if (command === 'rerate') rerateRange(values)
  }
  return { values, command }
}

async function sync(db: Db, values: Options, dryRun: boolean): Promise<number> {
  const outcome = await syncPrices(db, {
    actor: { principal: `cli:${userInfo().username}`, ip: null, reason: null },
    dryRun,
    feed: values.feed ?? readSetting(process.env, 'PURSER_PRICE_FEED'),
    needsFeed: values.feed !== undefined,
    second: values.second,
    tell,
  })
  const redisUrl = readSetting(process.env, 'REDIS_URL')
  if (!dryRun && outcome.added.length + outcome.aliases > 0 && redisUrl !== undefined) {
    const told = await announcePrices(redisUrl)
    tell(told ? 'running instances are told' : 'Redis is out of reach: running instances find out within a minute')
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
  const figure = (usd: string | null) => usd ?? 'none'
  const lines = [
    `${dryRun ? 'Would add' : 'Added'} ${outcome.added.length} versions and ${outcome.aliases} aliases; ${outcome.unchanged} versions are unchanged.`,
    ...outcome.added.map(({ provider, model, effective_date, source, changes }) => {
      const changed = changes.map(
        ({ bucket, from_usd, to_usd }) => `${bucket} ${figure(from_usd)} -> ${figure(to_usd)}`,
      )
      return `  ${provider} ${model} from ${effective_date} (${source}): ${changed.join(', ')}`
    }),
    ...disagreementLines(outcome.disagreements, 'Disagreements, which wait for an administrator'),
  ]
  if (outcome.held_back.length > 0) {
    lines.push('Held back:')
    for (const { provider, model, reason } of outcome.held_back) lines.push(`  ${provider} ${model}: ${reason}`)
  }
  if (outcome.skipped.length > 0) {
    lines.push('Skipped, because it cannot be priced by what usage counts:')
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

/** Progress, for people; the outcome has standard output to itself. */
function tell(line: string): void {
  process.stderr.write(`${line}\n`)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
