import pg from 'pg'

const CONNECT_MS = 5_000

/**
 * Makes sure that Postgres can be used as the URL says (5 s at most), before anything else is tried.
 *
 * @throws Error that names the host and the reason, and never the password.
 */
export async function reachDatabase(databaseUrl: string): Promise<void> {
  const client = openClient(databaseUrl)
  // A connection that breaks after the answer is of no interest here.
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (cause) {
    const place = `${client.host}:${client.port}, database ${client.database}`
    throw new Error(`Postgres cannot be used at ${place}: ${connectFaultText(cause)}`, { cause })
  } finally {
    await client.end().catch(() => {})
  }
}

function openClient(databaseUrl: string): pg.Client {
  try {
    return new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: CONNECT_MS })
  } catch {
    // The reason is not told: it may repeat the URL, which holds the password.
    throw new Error('DATABASE_URL is not a URL of Postgres, as postgres://user:password@host:5432/database')
  }
}

/** A name with several addresses fails with one error for each. */
function connectFaultText(error: unknown): string {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
  return errors.map((one) => (one instanceof Error ? one.message : String(one))).join('; ')
}
