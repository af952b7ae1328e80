import { parseArgs } from 'node:util'
import { checkIntegrity, type BrokenInvariant } from '../db/costs/check-integrity.ts'
import { connect } from '../db/pool/connection.ts'
import { faultCode } from '../db/pool/faults.ts'
import { reachDatabase } from '../db/pool/reach.ts'
import { remedyOf } from '../services/integrity.ts'
import { DATABASE_HELP, withDatabaseUrl } from './database-url.ts'

const help = `Usage: npm run integrity -- [options]

Checks the books: balances against holds and records, limits, holds that lapsed, lines of cost, idempotency keys.
Reads every reservation, balance and record in one snapshot and changes nothing; may run beside the service.

Options
  --json   { "healthy", "broken": [ { "invariant", "subject", "detail" } ] }
  --help   this text

${DATABASE_HELP}
Exit code: 0 healthy, 1 an invariant is broken or the check failed, 2 wrong arguments.
`

/** The check of a large database takes its time; this is for a statement that hangs. */
const CHECK_MS_MAX = 3_600_000

/** There is no schema, or no such function in it. */
const MISSING = new Set(['3F000', '42883'])

process.exitCode = await main()

async function main(): Promise<number> {
  let values: { json?: boolean; help?: boolean }
  try {
    ;({ values } = parseArgs({ options: { json: { type: 'boolean' }, help: { type: 'boolean' } } }))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`)
    return 2
  }
  if (values.help) {
    process.stdout.write(help)
    return 0
  }
  try {
    let broken: BrokenInvariant[] = []
    await withDatabaseUrl(async (databaseUrl) => {
      broken = await check(databaseUrl)
    })
    const healthy = broken.length === 0
    process.stdout.write(values.json ? `${JSON.stringify({ healthy, broken }, null, 2)}\n` : describeBroken(broken))
    return healthy ? 0 : 1
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`)
    return 1
  }
}

async function check(databaseUrl: string): Promise<BrokenInvariant[]> {
  await reachDatabase(databaseUrl)
  const db = connect(databaseUrl, { connectionsMax: 1, statementMs: CHECK_MS_MAX })
  try {
    return await checkIntegrity(db)
  } catch (error) {
    if (!MISSING.has(faultCode(error))) throw error
    throw new Error('The database is not migrated: npm run migrate -- up', { cause: error })
  } finally {
    await db.destroy()
  }
}

/** For people: what is broken, by invariant, and what to do about it. */
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
