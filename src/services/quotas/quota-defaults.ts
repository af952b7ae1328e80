import type { StatusCache } from '../../cache/quota-status.ts'
import type { Actor } from '../../db/keys/audit.ts'
import { changeAtOnce } from '../../db/pool/change.ts'
import type { Db } from '../../db/pool/connection.ts'
import { faultReason, unavailable } from '../../db/pool/faults.ts'
import {
  deleteQuotaDefault as removeDefault,
  giveDefaults as giveAll,
  listQuotaDefaults as readDefaults,
  putQuotaDefault as writeDefault,
  type DefaultKey,
  type StoredDefault,
} from '../../db/quotas/quota-defaults.ts'
import { usdText } from '../../domain/money.ts'
import { Problem } from '../../errors.ts'
import type { QuotaDefaultBody } from '../../schemas/quotas.ts'
import { amountOf } from '../amount.ts'
import { timeText, usdJson } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'

/** Lists the quotas that new tenants and users get when they are first seen. */
export async function listQuotaDefaults(
  { db }: { db: Db },
  afterKey: string | null,
  limit: number,
): Promise<PageOf<string>> {
  const defaults = (await readDefaults(db)).filter((one) => afterKey === null || keyText(one) > afterKey)
  return pageOf(defaults, limit, defaultAnswer, keyText)
}

/**
 * Creates or changes a default, and applies it to all known tenants or users. Quotas that an administrator has set or
 * deleted are not changed.
 *
 * @throws invalidRequest; unavailable, also if the default is set and applying it failed: the service then applies it later.
 */
export async function putQuotaDefault(
  { db, status }: { db: Db; status: StatusCache },
  actor: Actor,
  body: QuotaDefaultBody,
): Promise<object> {
  const key = { scope: body.scope, resource_type: body.resource_type ?? 'llm', period: body.period }
  const limitUsd = usdText(amountOf(body.limit_usd, '/limit_usd'))
  const input = { ...key, limit_usd: limitUsd, enforcement: body.enforcement }
  const stored = await changeAtOnce(db, actor, (connection) => writeDefault(connection, input, actor))
  try {
    await giveAll(db, (touched) => status.forget(touched))
  } catch (error) {
    if (faultReason(error) === null) throw error
    const detail =
      'The default is set. Known tenants and users do not have it yet; they get it within minutes once the database can be used.'
    throw unavailable(detail, { cause: error })
  }
  return defaultAnswer(stored)
}

/** Applies defaults that are still pending, for instance because the instance that set them stopped before it had finished. */
export async function giveDefaults({ db, status }: { db: Db; status: StatusCache }): Promise<void> {
  await giveAll(db, (touched) => status.forget(touched))
}

/** Deletes a default; the quotas that it created stay. @throws not_found; unavailable. */
export async function deleteQuotaDefault({ db }: { db: Db }, actor: Actor, key: DefaultKey): Promise<void> {
  const gone = await changeAtOnce(db, actor, (connection) => removeDefault(connection, key, actor))
  if (!gone) throw new Problem('not_found', `There is no default for ${keyText(key)}`)
}

/** The key by which the list is sorted and paged. */
function keyText({ scope, resource_type: resourceType, period }: DefaultKey): string {
  return `${scope}/${resourceType}/${period}`
}

function defaultAnswer(stored: StoredDefault): object {
  return {
    scope: stored.scope,
    resource_type: stored.resource_type,
    period: stored.period,
    limit_usd: usdJson(stored.limit_usd),
    enforcement: stored.enforcement,
    from_environment: stored.from_environment,
    updated_at: timeText(stored.updated_at),
  }
}
