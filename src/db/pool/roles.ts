import pg from 'pg'

/** What the service's statements run as. */
export const SERVICE_ROLE = 'purser_service'
/** What the reads of one tenant run as; it sees the rows of the tenant that `purser.tenant` names. */
export const READER_ROLE = 'purser_reader'

/** Which roles the login can take on, by the way that the URL leads. */
export type Roles = { service: boolean; reader: boolean }

/** What a connection asks for when it begins, so that no statement pays for it. */
export function startAs(role: string): string {
  return `-c role=${role}`
}

/** A login that takes on neither: what a connection is unless it is told otherwise. */
export const NO_ROLES: Roles = { service: false, reader: false }

/**
 * Finds out what the login can be, and what is not protected therefore, in words for who runs the service; nothing where
 * all is.
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
        `the service works as ${login}, which owns the tables: nothing in the database keeps it from changing cost records, prices and the audit log by hand`,
      )
    }
    if (!reader) {
      unprotected.push(
        `${login} cannot take on the role ${READER_ROLE}: the reads of keys that are bound to a tenant are narrowed by their conditions only, not by row-level security`,
      )
    }
    return { roles: { service, reader }, unprotected }
  })
}

/** Whether connections come up as the role. A pooler may refuse to pass that on, or drop it in silence. */
async function canStartAs(databaseUrl: string, role: string): Promise<boolean> {
  try {
    return await withClient(databaseUrl, startAs(role), async (client) => {
      const { rows } = await client.query<{ role: string }>('select current_user as role')
      return rows[0]!.role === role
    })
  } catch {
    // Whatever it was: the login itself tells, in the next step.
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
