import pg from 'pg'

const CONNECT_MS = 5_000

/**
 * Makes sure, before anything else is tried, that Postgres accepts a connection with this URL. Takes 5 s at most.
 *
 * @throws Error that names the host and the reason, but never the password.
 */
export async function reachDatabase(databaseUrl: string): Promise<void> {
  const client = openClient(databaseUrl)
  // It does not matter here if the connection breaks after the answer.
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (cause) {
    const place = `${client.host}:${client.port}, database ${client.database}`
    throw new Error(`Postgres cannot be used at ${place}: ${connectReason(cause)}`, { cause })
  } finally {
    await client.end().catch(() => {})
  }
}

function openClient(databaseUrl: string): pg.Client {
  try {
    return new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: CONNECT_MS })
  } catch {
    // Without the reason, which may repeat the URL with its password.
    throw new Error('DATABASE_URL is not a URL of Postgres, as postgres://user:password@host:5432/database')
  }
}

/** Why connecting failed. A host name with several addresses fails with one error for each. */
function connectReason(error: unknown): string {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
  return errors.map((one) => (one instanceof Error ? one.message : String(one))).join('; ')
}
