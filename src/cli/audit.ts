import { parseArgs } from 'node:util'
import { verifyAudit, type AuditFilter, type AuditVerdict } from '../db/keys/audit.ts'
import type { Db } from '../db/pool/connection.ts'
import { exportAudit } from '../services/keys/audit.ts'
import { DATABASE_HELP } from './database-url.ts'
import { runCommand, type Command } from './run-command.ts'

const help = `Usage: npm run audit -- <command> [options]

Commands
  verify   check the hash of every entry, and that none is missing. Keep the last hash elsewhere: with
           it you can later prove that nobody rewrote the log
  export   write the entries, oldest first, one JSON object per line

Options
  --action <action>        export: only this kind of change, for example quota.update
  --principal <principal>  export: only changes by this principal
  --from <time>            export: only changes since then (RFC 3339)
  --json                   verify: as JSON; export: as one JSON array
  --help                   this text

${DATABASE_HELP}
Exit code: 0 done and sound, 1 failed or broken, 2 wrong arguments.
`

process.exitCode = await runCommand(help, parseAudit)

function parseAudit(args: string[]): Command {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      action: { type: 'string' },
      principal: { type: 'string' },
      from: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  const [command, ...rest] = positionals
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  if (rest.length > 0) throw new Error(`Unexpected argument: ${rest[0]}`)
  if (values.from !== undefined && Number.isNaN(Date.parse(values.from))) throw new Error('--from is not a time')
  const { json = false, help: _, ...filter } = values
  switch (command) {
    case 'verify': {
      const [stray] = Object.keys(filter)
      if (stray !== undefined) throw new Error(`--${stray} goes with export`)
      return (db) => verifyChain(db, json)
    }
    case 'export':
      return (db) => writeEntries(db, filter, json)
    default:
      throw new Error(command ? `Unknown command: ${command}` : 'A command is missing')
  }
}

async function verifyChain(db: Db, json: boolean): Promise<number> {
  const verdict = await verifyAudit(db)
  process.stdout.write(`${json ? JSON.stringify(verdict, null, 2) : verdictText(verdict)}\n`)
  return verdict.broken.length === 0 ? 0 : 1
}

function verdictText({ entries, head_hash: hash, broken }: AuditVerdict): string {
  if (broken.length > 0) return broken.map(({ subject, detail }) => `${subject}: ${detail}`).join('\n')
  return `${entries} entries, the chain verifies${hash === null ? '' : `; the last hash is ${hash}`}`
}

async function writeEntries(db: Db, filter: AuditFilter, json: boolean): Promise<number> {
  let written = 0
  if (json) process.stdout.write('[')
  for await (const entry of exportAudit({ db }, filter)) {
    process.stdout.write(`${json && written > 0 ? ',\n' : ''}${JSON.stringify(entry)}${json ? '' : '\n'}`)
    written += 1
  }
  if (json) process.stdout.write(']\n')
  return 0
}
