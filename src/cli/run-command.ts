import { connect, type Db } from '../db/pool/connection.ts'
import { faultReason } from '../db/pool/faults.ts'
import { reachDatabase } from '../db/pool/reach.ts'
import { withDatabaseUrl } from './database-url.ts'

/** Runs a command and returns its exit code. */
export type Command = (db: Db) => Promise<number>

/**
 * Runs the command in the arguments on the database, over one connection.
 *
 * @returns the exit code: the command's own, 1 when it fails, 2 for wrong arguments.
 */
export async function runCommand(
  help: string,
  parse: (args: string[]) => Command,
  options: { statementMs?: number } = {},
): Promise<number> {
  let command: Command
  try {
    command = parse(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`)
    return 2
  }
  try {
    return await withDatabaseUrl(async (databaseUrl) => {
      await reachDatabase(databaseUrl)
      const db = connect(databaseUrl, { connectionsMax: 1, ...options })
      try {
        return await command(db)
      } finally {
        await db.destroy()
      }
    })
  } catch (error) {
    process.stderr.write(`${errorText(error)}\n`)
    return 1
  }
}

/** An error as text for people: one line for each wrong place in a file. */
function errorText(error: unknown): string {
  const errors = (error as { members?: { errors?: { pointer: string; message: string }[] } }).members?.errors
  if (errors !== undefined)
    return errors.map(({ pointer, message }) => `${pointer || 'the file'} ${message}`).join('\n')
  const message = error instanceof Error ? error.message : String(error)
  const reason = faultReason(error)
  return reason === null ? message : `Failed, because ${reason}: ${message}`
}
