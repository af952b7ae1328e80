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
  export               write cost records, one row each, in the order they occurred
  archive              do what the service does each night: move months of records that are older than the
                       retention into files, and delete expired files, settled reservations, idempotency keys,
                       delivered events, and idle tenants and users whose quotas came only from defaults
  archives             list the archives
  restore <partition>  bring back an archived month, for example llm_cost_records_2026_08

Options
  --format <csv|jsonl|focus>  export: the format (default csv)
  --from <time>, --to <time>  export: when records occurred (RFC 3339), from inclusive, to exclusive; default: the last 30 days
  --tenant <id>               export: only this tenant
  --resource-type <llm|e2b>   export: only this resource type
  --cursor <cost_record_id>   export: continue after this record, without a header, if an export broke off
  --gzip                      export: compress the output
  --out <file>                export: write to a new file instead of standard output
  --dry-run                   archive: print what would be done, and change nothing
  --days <n>                  restore: days until it is archived again (default ${KEEP_DAYS})
  --json                      archive, archives: print JSON
  --help                      this text

Files are in PURSER_ARCHIVE_DIR. PURSER_RETENTION_DAYS, PURSER_ARCHIVE_YEARS, PURSER_RESERVATION_DAYS and PURSER_EVENT_DAYS
say how long each is kept.

${DATABASE_HELP}
Exit code: 0 done, 1 failed, 2 wrong arguments.
`

const RFC_3339 = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})$/i

/** Whoever can open the database can read everything in it. */
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
      throw new Error('restore needs the name of a partition. List them with: npm run costs -- archives')
    if (!Number.isInteger(days) || days < 1 || days > 3_650) throw new Error('--days must be 1 to 3650')
    return (db) => restore(db, partition, days)
  }
  if (command !== 'export') throw new Error(command ? `Unknown command: ${command}` : 'A command is missing')
  if (!isFormat(format)) throw new Error(`--format must be one of ${Object.keys(EXPORT_FORMS).join(', ')}`)
  if (!isResourceType(type)) throw new Error('--resource-type must be llm or e2b')
  if (cursor !== undefined && !/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(cursor))
    throw new Error('--cursor must be the cost_record_id of a record')
  for (const [name, time] of Object.entries({ from, to })) {
    if (time !== undefined && !RFC_3339.test(time))
      throw new Error(`--${name} must be a time such as 2026-11-01T00:00:00Z`)
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
  // Never overwrite a file. The new one holds everybody's costs, so only its owner may read it.
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
