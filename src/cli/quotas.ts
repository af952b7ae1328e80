import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { readSetting } from '../config.ts'
import type { Db } from '../db/pool/connection.ts'
import { exportQuotas, importQuotas } from '../services/quotas/quota-files.ts'
import { quotaReport } from '../services/quotas/quota-report.ts'
import { DATABASE_HELP } from './database-url.ts'
import { runCommand, type Command } from './run-command.ts'

const DAYS_DEFAULT = 14
const DAYS_MAX = 366

const help = `Usage: npm run quotas -- <command> [options]

Commands
  export         write every quota as JSON: { "quotas": [...] }
  import [file]  create or change the quotas in such a file (or in standard input), all or none;
                 quotas that the file does not name stay unchanged
  report         show what would have been refused if every quota had been enforced

Options
  --reason <text>  import: the reason, for the audit log
  --days <n>       report: how many days back (default ${DAYS_DEFAULT})
  --json           import, report: print JSON
  --help           this text

${DATABASE_HELP}
Exit code: 0 done, 1 failed (nothing was changed), 2 wrong arguments.
`

process.exitCode = await runCommand(help, parseQuotas)

function parseQuotas(args: string[]): Command {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      reason: { type: 'string' },
      days: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  const [command, file, ...rest] = positionals
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  const stray = command === 'import' ? rest[0] : file
  if (stray !== undefined) throw new Error(`Unexpected argument: ${stray}`)
  if (values.reason !== undefined && command !== 'import') throw new Error('--reason goes with import')
  if (values.days !== undefined && command !== 'report') throw new Error('--days goes with report')
  const { json = false, reason = null, days: daysText = String(DAYS_DEFAULT) } = values
  switch (command) {
    case 'export':
      return writeQuotas
    case 'import':
      return (db) => readQuotas(db, file, reason, json)
    case 'report': {
      const days = Number(daysText)
      if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX) throw new Error(`--days must be 1 to ${DAYS_MAX}`)
      return (db) => writeReport(db, days, json)
    }
    default:
      throw new Error(command ? `Unknown command: ${command}` : 'A command is missing')
  }
}

async function writeQuotas(db: Db): Promise<number> {
  process.stdout.write(`${JSON.stringify(await exportQuotas({ db }), null, 2)}\n`)
  return 0
}

async function readQuotas(db: Db, file: string | undefined, reason: string | null, json: boolean): Promise<number> {
  const content = file === undefined ? await text(process.stdin) : await readFile(file, 'utf8')
  const actor = { principal: `cli:${userInfo().username}`, ip: null, reason }
  const allowEmailIds = readSetting(process.env, 'PURSER_ALLOW_EMAIL_IDS') === '1'
  const done = await importQuotas({ db, allowEmailIds }, actor, content)
  process.stdout.write(json ? `${JSON.stringify(done)}\n` : `${done.made} made, ${done.changed} changed\n`)
  return 0
}

async function writeReport(db: Db, days: number, json: boolean): Promise<number> {
  const rows = await quotaReport({ db }, days)
  if (json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
  else if (rows.length === 0) process.stdout.write(`Nothing would have been refused in the last ${days} days.\n`)
  // Amounts are JSON.rawJSON objects. Writing and reading them again makes numbers for the table.
  else console.table(JSON.parse(JSON.stringify(rows)))
  return 0
}
