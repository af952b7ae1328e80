import type pg from 'pg'

/** The balances of a tenant and its users in the order of their periods; amounts as the shortest decimal text. */
export async function balancesOf(pool: pg.Pool, tenantId: string) {
  const { rows } = await pool.query<{ scope: string; period: string; starts_at: string; spent: string }>(
    `select scope, period, to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24') as starts_at, trim_scale(spent)::text as spent
     from copilot_internal.quota_periods where tenant_id = $1 and closed_at is null order by scope, period, starts_at`,
    [tenantId],
  )
  return rows.map(({ scope, period, starts_at: startsAt, spent }) => `${scope} ${period} ${startsAt} ${spent}`)
}
