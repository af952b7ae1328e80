import { sql } from 'kysely'
import { actorCte, type Actor } from '../keys/audit.ts'
import type { Db } from '../pool/connection.ts'
import { sumAhead, type QuotaInput } from './quotas.ts'

export type DefaultInput = {
  scope: 'tenant' | 'user'
  resource_type: 'llm' | 'e2b'
  period: string
  limit_usd: string
  enforcement?: string | undefined
}

/** Sets the default quotas for new tenants from the environment. Defaults that an administrator has set are not changed. */
export async function setEnvironmentDefaults(db: Db, defaults: DefaultInput[]): Promise<void> {
  await sql`select copilot_internal.set_quota_defaults(${JSON.stringify(defaults)}::json, true)`.execute(db)
}

/** A tenant (user_id null) or a user whose quotas have changed. */
export type TouchedScope = { tenant_id: string; user_id: string | null }

/** Creates or changes a default and returns it. It stays pending until giveDefaults() has applied it to known tenants and users. */
export async function putQuotaDefault(db: Db, input: DefaultInput, actor: Actor): Promise<StoredDefault> {
  const { rows } = await sql<{ stored: StoredDefault }>`
    with ${actorCte(actor)}
    select copilot_internal.put_quota_default(${JSON.stringify(input)}::json) as stored
    from actor where actor.is_known is not null`.execute(db)
  return rows[0]!.stored
}

/** Tenants or users in one transaction. Decisions wait for it, about a tenth of a second. */
const SCOPES_AT_ONCE = 100

/**
 * Applies the pending defaults to all known tenants and users, SCOPES_AT_ONCE in each transaction, so that decisions do not
 * wait long. A default that is not finished, for instance because the process stops, stays pending for the next call.
 *
 * @param onTouched receives the tenants and users whose quotas have changed.
 */
export async function giveDefaults(
  db: Db,
  onTouched: (touched: TouchedScope[]) => Promise<void> = async () => {},
): Promise<void> {
  const { rows: defaults } = await sql<DefaultKey & { at: string }>`
    select d.scope, d.resource_type, d.period, d.updated_at::text as at from copilot_internal.quota_defaults d
    where d.pending and d.deleted_at is null`.execute(db)
  for (const { scope, resource_type: type, period, at } of defaults) {
    let last: TouchedScope | undefined = { tenant_id: '', user_id: '' }
    while (last !== undefined) {
      const { rows } = await sql<TouchedScope & { quota: (QuotaInput & TouchedScope) | null }>`
        select * from copilot_internal.default_quotas(
          ${scope}, ${type}, ${period}, ${last.tenant_id}, ${last.user_id}, ${SCOPES_AT_ONCE})`.execute(db)
      const quotas = rows.flatMap(({ quota }) => quota ?? [])
      if (quotas.length > 0) {
        const summed = JSON.stringify(await sumAhead(db, quotas))
        await sql`select from copilot_internal.set_quotas(${summed}::json, true)`.execute(db)
        await onTouched(quotas)
      }
      last = rows.length === SCOPES_AT_ONCE ? rows.at(-1) : undefined
    }
    await sql`select copilot_internal.finish_quota_default(${scope}, ${type}, ${period}, ${at}::timestamptz)`.execute(
      db,
    )
  }
}

export type DefaultKey = Pick<DefaultInput, 'scope' | 'resource_type' | 'period'>

/** Deletes a default; false if there is none. */
export async function deleteQuotaDefault(db: Db, key: DefaultKey, actor: Actor): Promise<boolean> {
  const { rows } = await sql<{ gone: boolean }>`
    with ${actorCte(actor)}
    select copilot_internal.delete_quota_default(${key.scope}, ${key.resource_type}, ${key.period}) as gone
    from actor where actor.is_known is not null`.execute(db)
  return rows[0]!.gone
}

/** A default as it is stored; amounts as decimal text. */
export type StoredDefault = DefaultKey & {
  limit_usd: string
  enforcement: 'enforce' | 'warn' | 'off'
  from_environment: boolean
  updated_at: Date | string
}

/** Lists all defaults, at most 20: one for each scope, resource type and period. */
export async function listQuotaDefaults(db: Db): Promise<StoredDefault[]> {
  const { rows } = await sql<StoredDefault>`
    select d.scope, d.resource_type, d.period, d.limit_usd, d.enforcement, d.from_environment, d.updated_at
    from copilot_internal.quota_defaults d where d.deleted_at is null
    order by d.scope, d.resource_type::text, d.period`.execute(db)
  return rows
}
