import pg from 'pg'

const CONNECT_MS = 5_000

/**
 * Connects to Postgres once, before anything else is tried, so that a wrong URL fails with a clear reason. Waits at most 5 s for the
 * connection and 5 s for the answer.
 *
 * @returns the server's version and where it is: the host, the port and the database.
 * @throws Error that names the host and the reason, and never the password.
 */
export async function reachDatabase(databaseUrl: string): Promise<{ version: string; place: string }> {
  const client = openClient(databaseUrl)
  // A connection that breaks after the answer does not matter here.
  client.on('error', () => {})
  const place = `${client.host}:${client.port}, database ${client.database}`
  try {
    await client.connect()
    const { rows } = await client.query<{ server_version: string }>('show server_version')
    // Distributions add their own name: 18.4 (Debian 18.4-1.pgdg12+1).
    return { version: rows[0]!.server_version.split(' ')[0]!, place }
  } catch (cause) {
    throw new Error(`Postgres cannot be used at ${place}: ${connectReason(cause)}`, { cause })
  } finally {
    await client.end().catch(() => {})
  }
}

function openClient(databaseUrl: string): pg.Client {
  try {
    return new pg.Client({
      connectionString: databaseUrl,
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: CONNECT_MS,
    })
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
