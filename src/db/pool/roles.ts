import pg from 'pg'

/** The role that the service's statements run as. */
export const SERVICE_ROLE = 'purser_service'
/** The role that the reads for one tenant run as. It sees only the rows of the tenant that `purser.tenant` names. */
export const READER_ROLE = 'purser_reader'

/** Which roles the login can take on through this URL; a pooler on the way may prevent it. */
export type Roles = { service: boolean; reader: boolean }

/** The startup option that makes a connection run as a role, so that no statement has to set it. */
export function startAs(role: string): string {
  return `-c role=${role}`
}

/** The default of a connection: it runs as its login. */
export const NO_ROLES: Roles = { service: false, reader: false }

/**
 * Finds out which roles the login can take on. `unprotected` tells the operator in words which protection is missing because of
 * that; it is empty if everything is protected.
 *
 * @throws errors of the connection.
 */
export async function findRoles(databaseUrl: string): Promise<{ roles: Roles; unprotected: string[] }> {
  const service = await canStartAs(databaseUrl, SERVICE_ROLE)
  return withClient(databaseUrl, undefined, async (client) => {
    const { rows } = await client.query<{ login: string; owns: boolean }>(`
      select session_user as login, pg_has_role(session_user, nspowner, 'usage') as owns
      from pg_namespace where nspname = 'copilot_internal'`)
    const { login, owns } = rows[0]!
    const reader = await canReadAs(client)
    const unprotected = []
    if (!service && owns) {
      unprotected.push(
        `the service runs as ${login}, which owns the tables: nothing in the database stops it from changing cost records, prices and the audit log directly`,
      )
    }
    if (!reader) {
      unprotected.push(
        `${login} cannot take on the role ${READER_ROLE}: reads with a key of one tenant are limited by the conditions of their queries only, not by row-level security`,
      )
    }
    return { roles: { service, reader }, unprotected }
  })
}

/** Whether connections start as the role. A pooler may refuse to pass the option on, or drop it without an error. */
async function canStartAs(databaseUrl: string, role: string): Promise<boolean> {
  try {
    return await withClient(databaseUrl, startAs(role), async (client) => {
      const { rows } = await client.query<{ role: string }>('select current_user as role')
      return rows[0]!.role === role
    })
  } catch {
    // Whatever the error was: if the login itself cannot connect, the next step fails with the reason.
    return false
  }
}

async function canReadAs(client: pg.Client): Promise<boolean> {
  await client.query('begin')
  try {
    await client.query(`select set_config('role', '${READER_ROLE}', true)`)
    return true
  } catch {
    return false
  } finally {
    await client.query('rollback')
  }
}

async function withClient<Answer>(
  databaseUrl: string,
  options: string | undefined,
  work: (client: pg.Client) => Promise<Answer>,
): Promise<Answer> {
  const client = new pg.Client({ connectionString: databaseUrl, ...(options === undefined ? {} : { options }) })
  client.on('error', () => {})
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.end().catch(() => {})
  }
}
