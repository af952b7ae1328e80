import { defaultDataDir, startEmbeddedPostgres } from './postgres.ts'

/**
 * Runs a command on the database of DATABASE_URL, or else on the embedded one, which is started for it.
 *
 * @throws what `run` throws, and what startEmbeddedPostgres() throws.
 */
export async function withDatabase(
  environment: Record<string, string | undefined>,
  run: (databaseUrl: string) => Promise<void>,
): Promise<void> {
  const configured = environment['DATABASE_URL']
  if (configured) return run(configured)
  const postgres = await startEmbeddedPostgres({ dataDir: environment['PURSER_DATA_DIR'] || defaultDataDir() })
  // The server has a process group of its own. With it gone the run fails, rolled back.
  const stop = () => void postgres.stop()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    await run(postgres.databaseUrl)
  } finally {
    await postgres.stop()
  }
}
