import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import { createGzip } from 'node:zlib'
import type { Db } from '../db/pool/connection.ts'
import { spelledInstant } from '../domain/instant.ts'
import { EXPORT_FORMS, exportCosts, type ExportFormat } from '../services/costs/export-costs.ts'
import { readConfig } from '../config.ts'
import { listArchives } from '../db/archives/archives.ts'
import { retentionSettings } from '../embedded/retention-settings.ts'
import {
  KEEP_DAYS,
  keepRetention,
  planRetention,
  RETENTION_STATEMENT_MS,
  restorePartition,
  type Retention,
} from '../services/archives/retention.ts'
import { DATABASE_HELP } from './database-url.ts'
import { runCommand, type Command } from './run-command.ts'

const help = `Usage: npm run -s costs -- <command> [options]

Commands
  export               write records of cost, one row each, in the order in which they occurred
  archive              do what the service does each night: delete settled reservations, keys, told
                       events and idle tenants and users that only a default knew, move months of records that are older than the retention into files, delete files
                       older than their years
  archives             list the archives
  restore <partition>  bring an archived month back, as llm_cost_records_2026_08

Options
  --format <csv|jsonl|focus>  export: the form (csv)
  --from <time>, --to <time>  export: when they occurred (RFC 3339), from inclusive, to exclusive; without them, the last 30 days
  --tenant <id>               export: of this tenant only
  --resource-type <llm|e2b>   export: of this kind only
  --cursor <cost_record_id>   export: what follows after this record, without a header: goes on where an export broke off
  --gzip                      export: compressed
  --out <file>                export: into a new file instead of the standard output
  --dry-run                   archive: print what would go, and change nothing
  --days <n>                  restore: keep it so long before it is archived again (${KEEP_DAYS})
  --json                      archive, archives: as JSON
  --help                      this text

Files are in PURSER_ARCHIVE_DIR. PURSER_RETENTION_DAYS, PURSER_ARCHIVE_YEARS, PURSER_RESERVATION_DAYS and PURSER_EVENT_DAYS say what
goes when.

${DATABASE_HELP}
Exit code: 0 done, 1 failed, 2 wrong arguments.
`

const RFC_3339 = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})$/i

/** Who has the database has everything in it. */
const OPERATOR = { id: 'cli', role: 'admin', tenantId: null } as const

process.exitCode = await runCommand(help, parseCosts, { statementMs: RETENTION_STATEMENT_MS })

function parseCosts(args: string[]): Command {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      format: { type: 'string', default: 'csv' },
      from: { type: 'string' },
      to: { type: 'string' },
      tenant: { type: 'string' },
      'resource-type': { type: 'string' },
      cursor: { type: 'string' },
      gzip: { type: 'boolean', default: false },
      out: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
      days: { type: 'string', default: String(KEEP_DAYS) },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  })
  const [command, ...more] = positionals
  const [partition, ...rest] = command === 'restore' ? more : ['', ...more]
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  if (rest.length > 0) throw new Error(`Unexpected argument: ${rest[0]}`)
  const { format, from, to, tenant, 'resource-type': type, cursor, gzip, out } = values
  if (command === 'archive') return (db) => archive(db, values['dry-run'], values.json)
  if (command === 'archives') return (db) => writeArchives(db, values.json)
  if (command === 'restore') {
    const days = Number(values.days)
    if (partition === undefined)
      throw new Error('restore needs the name of a partition: npm run costs -- archives lists them')
    if (!Number.isInteger(days) || days < 1 || days > 3_650) throw new Error('--days is 1 to 3650')
    return (db) => restore(db, partition, days)
  }
  if (command !== 'export') throw new Error(command ? `Unknown command: ${command}` : 'A command is missing')
  if (!isFormat(format)) throw new Error(`--format is one of ${Object.keys(EXPORT_FORMS).join(', ')}`)
  if (!isResourceType(type)) throw new Error('--resource-type is llm or e2b')
  if (cursor !== undefined && !/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(cursor))
    throw new Error('--cursor is the cost_record_id of a record')
  for (const [name, time] of Object.entries({ from, to })) {
    if (time !== undefined && !RFC_3339.test(time)) throw new Error(`--${name} is not a time as 2026-11-01T00:00:00Z`)
  }
  const query = {
    format,
    ...(from === undefined ? {} : { from: spelledInstant(from) }),
    ...(to === undefined ? {} : { to: spelledInstant(to) }),
    ...(tenant === undefined ? {} : { tenant_id: tenant }),
    ...(type === undefined ? {} : { resource_type: type }),
    ...(cursor === undefined ? {} : { cursor }),
  }
  return (db) => writeExport(db, query, gzip, out)
}

function isResourceType(text: string | undefined): text is 'llm' | 'e2b' | undefined {
  return text === undefined || text === 'llm' || text === 'e2b'
}

function isFormat(text: string): text is ExportFormat {
  return Object.hasOwn(EXPORT_FORMS, text)
}

async function writeExport(
  db: Db,
  query: Parameters<typeof exportCosts>[2],
  gzip: boolean,
  out: string | undefined,
): Promise<number> {
  const { chunks } = await exportCosts({ db }, OPERATOR, query)
  const lines = Readable.from(chunks, { highWaterMark: 1 })
  // A file that is there is not written over; a new one is everybody's costs, so nobody else may read it.
  const target = out === undefined ? process.stdout : createWriteStream(out, { flags: 'wx', mode: 0o600 })
  if (gzip) await pipeline(lines, createGzip(), target)
  else await pipeline(lines, target)
  return 0
}

function retentionOf(db: Db): Retention {
  return { db, ...retentionSettings(readConfig(process.env)) }
}

async function archive(db: Db, dryRun: boolean, json: boolean): Promise<number> {
  const retention = retentionOf(db)
  const report = dryRun ? await planRetention(retention) : await keepRetention(retention, new AbortController().signal)
  const would = dryRun ? 'would be ' : ''
  const lines = [
    ...report.archived.map(({ partition, records }) => `${partition}: ${records} records ${would}archived`),
    ...report.deleted_files.map((partition) => `${partition}: its file ${would}deleted`),
    `${report.deleted_settled} settled reservations${dryRun ? '' : ' and keys'} ${would}deleted`,
    `${report.deleted_events} events ${would}deleted`,
    `${report.retired_scopes} idle tenants and users ${would}retired, with the quotas that defaults gave them`,
  ]
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : `${lines.join('\n')}\n`)
  for (const { what, reason } of report.failed) process.stderr.write(`Not done: ${what}: ${reason}\n`)
  return report.failed.length === 0 ? 0 : 1
}

async function writeArchives(db: Db, json: boolean): Promise<number> {
  const archives = await listArchives(db)
  const lines = archives.map((one) => `${one.partition}  ${one.state}  ${one.records} records  ${one.cost_usd} USD\n`)
  process.stdout.write(json ? `${JSON.stringify(archives, null, 2)}\n` : lines.join(''))
  return 0
}

async function restore(db: Db, partition: string, days: number): Promise<number> {
  const records = await restorePartition(retentionOf(db), partition, days)
  process.stdout.write(`${partition}: ${records} records restored, for ${days} days\n`)
  return 0
}
