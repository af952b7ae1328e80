import { readSetting } from '../config.ts'
import { defaultDataDir, startEmbeddedPostgres } from '../embedded/postgres.ts'

/** Which database a command works on, for its help. */
export const DATABASE_HELP = `The database is that of DATABASE_URL (or of the file DATABASE_URL_FILE), or else the one that \`npm start\` keeps under PURSER_DATA_DIR
(${defaultDataDir()} by default), started for the command.`

/** Runs a command on the configured database, or on the embedded one, which is stopped afterwards. */
export async function withDatabaseUrl<Result>(run: (databaseUrl: string) => Promise<Result>): Promise<Result> {
  const configured = readSetting(process.env, 'DATABASE_URL')
  if (configured) return run(configured)
  const postgres = await startEmbeddedPostgres({
    dataDir: readSetting(process.env, 'PURSER_DATA_DIR') ?? defaultDataDir(),
  })
  // Ctrl-C does not reach the server, which has its own process group. Once it stops, the command fails and is rolled back.
  const stop = () => void postgres.stop()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    return await run(postgres.databaseUrl)
  } finally {
    await postgres.stop()
  }
}
