import { parseArgs } from 'node:util'
import { migrateDown, migrateUp, migrationStatus, type MigrationStatus } from '../db/migrate/migrations.ts'
import { DATABASE_HELP, withDatabaseUrl } from './database-url.ts'

const help = `Usage: npm run migrate -- <command> [options]

Commands
  up       bring the database to this release
  down     go back one migration
  status   show what is applied, what is pending and which objects are not Purser's

Options
  --all    down: go back all the way; nothing of Purser is left in the database
  --json   status: as JSON
  --help   this text

${DATABASE_HELP}
Exit code: 0 done, 1 failed (the database is as it was), 2 wrong arguments.
`

process.exitCode = await main()

async function main(): Promise<number> {
  let run: (databaseUrl: string) => Promise<unknown>
  try {
    run = parseCommand(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`)
    return 2
  }
  try {
    await withDatabaseUrl(run)
    return 0
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return 1
  }
}

function parseCommand(args: string[]): (databaseUrl: string) => Promise<unknown> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { all: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean' } },
  })
  const [command, ...rest] = positionals
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  if (rest.length > 0) throw new Error(`Unexpected argument: ${rest[0]}`)
  if (values.all && command !== 'down') throw new Error('--all goes with down')
  if (values.json && command !== 'status') throw new Error('--json goes with status')
  switch (command) {
    case 'up':
      return (databaseUrl) => migrateUp(databaseUrl, printLine)
    case 'down':
      return (databaseUrl) => migrateDown(databaseUrl, printLine, values.all ? { all: true } : { steps: 1 })
    case 'status':
      return async (databaseUrl) => {
        const status = await migrationStatus(databaseUrl)
        printLine(values.json ? JSON.stringify(status, null, 2) : formatStatus(status))
      }
    default:
      throw new Error(command ? `Unknown command: ${command}` : 'A command is missing')
  }
}

function formatStatus({ migrations, changedFunctionFiles, foreignObjects }: MigrationStatus): string {
  return [
    ...migrations.map(({ name, appliedAt }) => `${appliedAt?.toISOString() ?? 'pending'.padEnd(24)}  ${name}`),
    ...changedFunctionFiles.map((file) => `${'changed'.padEnd(24)}  functions/${file}`),
    ...foreignObjects.map((object) => `${'foreign'.padEnd(24)}  ${object}`),
  ].join('\n')
}

function printLine(line: string): void {
  process.stdout.write(`${line}\n`)
}
