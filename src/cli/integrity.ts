import { parseArgs } from 'node:util'
import { checkIntegrity, type BrokenInvariant } from '../db/costs/check-integrity.ts'
import type { Db } from '../db/pool/connection.ts'
import { faultCode } from '../db/pool/faults.ts'
import { remedyOf } from '../services/integrity.ts'
import { DATABASE_HELP } from './database-url.ts'
import { runCommand, type Command } from './run-command.ts'

const help = `Usage: npm run integrity -- [options]

Checks the books: balances against holds and records, limits, lapsed holds, cost records and idempotency keys.
Reads every reservation, balance and record in one snapshot. It changes nothing and can run while the service does.

Options
  --json   { "healthy", "broken": [ { "invariant", "subject", "detail" } ] }
  --help   this text

${DATABASE_HELP}
Exit code: 0 healthy, 1 an invariant is broken or the check failed, 2 wrong arguments.
`

/** Only stops a statement that hangs: the check of a large database may take many minutes. */
const CHECK_MS_MAX = 3_600_000

/** SQLSTATEs for a missing schema and a missing function. */
const MISSING = new Set(['3F000', '42883'])

process.exitCode = await runCommand(help, parseIntegrity, { statementMs: CHECK_MS_MAX })

function parseIntegrity(args: string[]): Command {
  const { values } = parseArgs({ args, options: { json: { type: 'boolean' }, help: { type: 'boolean' } } })
  if (values.help) {
    process.stdout.write(help)
    process.exit(0)
  }
  return (db) => checkBooks(db, values.json ?? false)
}

async function checkBooks(db: Db, json: boolean): Promise<number> {
  const broken = await findBroken(db)
  const healthy = broken.length === 0
  process.stdout.write(json ? `${JSON.stringify({ healthy, broken }, null, 2)}\n` : describeBroken(broken))
  return healthy ? 0 : 1
}

async function findBroken(db: Db): Promise<BrokenInvariant[]> {
  try {
    return await checkIntegrity(db)
  } catch (error) {
    if (!MISSING.has(faultCode(error))) throw error
    throw new Error('The database is not migrated: npm run migrate -- up', { cause: error })
  }
}

/** What is broken, by invariant, and what to do about it. */
function describeBroken(broken: BrokenInvariant[]): string {
  if (broken.length === 0) return 'The books are healthy: every invariant holds.\n'
  const invariants = [...new Set(broken.map(({ invariant }) => invariant))]
  const parts = invariants.map((invariant) => {
    const rows = broken.filter((row) => row.invariant === invariant)
    return [
      `${invariant} is broken in ${rows.length} ${rows.length === 1 ? 'place' : 'places'}`,
      ...rows.map(({ subject, detail }) => `  ${subject}: ${detail}`),
      `  What to do: ${remedyOf(invariant)}`,
    ].join('\n')
  })
  return `${parts.join('\n\n')}\n`
}
