import type { PriceCache } from '../../cache/prices.ts'
import type { Db } from '../../db/pool/connection.ts'
import { writeAudit, type Actor } from '../../db/keys/audit.ts'
import { change } from '../../db/pool/change.ts'
import {
  addE2bPrice,
  addModelPrice,
  listE2bVersions,
  listModelVersions,
  type AddedPrice,
  type StoredE2bPrice,
  type StoredModelPrice,
} from '../../db/prices/price-versions.ts'
import { epochMicros, readInstant, type SpelledInstant } from '../../domain/instant.ts'
import { usdText } from '../../domain/money.ts'
import { invalidRequest, Problem } from '../../errors.ts'
import type { E2bPriceBody, E2bPricesQuery, ModelPriceBody, ModelPricesQuery } from '../../schemas/pricing.ts'
import { amountOf } from '../amount.ts'
import { timeText, usdJson } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'
import { DEFAULT_REGION } from './price-lookup.ts'

/** A bound for the versions of one model or tier, of which a few are added each year. */
const VERSIONS_MAX = 10_000

type PricingDeps = { db: Db; prices: PriceCache }

/** Lists the versions of models' rate cards by provider, model and date, without superseded ones. */
export async function listModelPrices(
  { db }: { db: Db },
  { provider, model, at, status }: ModelPricesQuery,
  afterId: number | null,
  limit: number,
): Promise<PageOf<number>> {
  const versions = await listModelVersions(
    db,
    { provider, model, at: at && readInstant(at), status },
    afterId,
    limit + 1,
  )
  return pageOf(versions, limit, modelPriceAnswer, ({ price_id }) => price_id)
}

/** Lists the versions of the sandbox rate cards by tier, region and date. */
export async function listE2bPrices(
  { db }: { db: Db },
  { tier, region, at, status }: E2bPricesQuery,
  afterId: number | null,
  limit: number,
): Promise<PageOf<number>> {
  const versions = await listE2bVersions(db, { tier, region, at: at && readInstant(at), status }, afterId, limit + 1)
  return pageOf(versions, limit, e2bPriceAnswer, ({ price_id }) => price_id)
}

/**
 * Adds a version of a model's rate card. It ends the version before it, and itself ends where the next one starts. Every
 * instance uses it within a second.
 *
 * @throws price_exists if the date has a version that `replaces` does not name; invalidRequest; unavailable.
 */
export async function publishModelPrice(
  { db, prices }: PricingDeps,
  actor: Actor,
  body: ModelPriceBody,
): Promise<object> {
  const { replaces, long_context: long, ...version } = body
  const wanted = {
    ...version,
    ...datesOf(body),
    source: adminSource(body.source),
    usd_per_mtok: texts(body.usd_per_mtok, '/usd_per_mtok'),
    usd_per_unit: texts(body.usd_per_unit ?? {}, '/usd_per_unit'),
    modifiers: texts(body.modifiers ?? {}, '/modifiers'),
    long_context: long ? { ...long, usd_per_mtok: texts(long.usd_per_mtok, '/long_context/usd_per_mtok') } : null,
    aliases: (body.aliases ?? []).filter((alias) => alias !== body.model),
  }
  const answer = await change(db, actor, async (transaction) => {
    const { provider, model } = body
    const before = await listModelVersions(transaction, { provider, model }, null, VERSIONS_MAX)
    const id = addedId(await addModelPrice(transaction, wanted, replacedId(replaces)), `${provider} ${model}`)
    const [stored] = await listModelVersions(transaction, { priceId: id }, null, 1)
    const replaced = before.find(({ effective_date: date }) => date === stored!.effective_date)
    const after = modelPriceAnswer(stored!)
    await auditPrice(transaction, `price:${provider}/${model}`, replaced && modelPriceAnswer(replaced), after)
    return after
  })
  await prices.changed()
  return answer
}

/**
 * Adds a version of the sandbox rate card of a tier and region. Default size: the tier's own.
 *
 * @throws price_exists; invalidRequest; unavailable: as publishModelPrice.
 */
export async function publishE2bPrice({ db, prices }: PricingDeps, actor: Actor, body: E2bPriceBody): Promise<object> {
  const dates = datesOf(body)
  const { replaces, vcpu, ...version } = body
  if ((vcpu === undefined) !== (body.memory_mib === undefined)) {
    const missing = vcpu === undefined ? 'vcpu' : 'memory_mib'
    throw invalidRequest([{ pointer: `/${missing}`, message: 'is required: a size is vcpu and memory_mib' }])
  }
  const region = body.region ?? DEFAULT_REGION
  const wanted = {
    ...version,
    ...dates,
    region,
    ...(vcpu === undefined ? {} : { vcpu: usdText(amountOf(vcpu, '/vcpu')) }),
    source: adminSource(body.source),
    usd_per_vcpu_second: usdText(amountOf(body.usd_per_vcpu_second, '/usd_per_vcpu_second')),
    usd_per_gib_second: usdText(amountOf(body.usd_per_gib_second, '/usd_per_gib_second')),
  }
  const answer = await change(db, actor, async (transaction) => {
    const { tier } = body
    const before = await listE2bVersions(transaction, { tier, region }, null, VERSIONS_MAX)
    const id = addedId(await addE2bPrice(transaction, wanted, replacedId(replaces)), `tier ${tier} in ${region}`)
    const [stored] = await listE2bVersions(transaction, { priceId: id }, null, 1)
    const replaced = before.find(({ effective_date: date }) => date === stored!.effective_date)
    const after = e2bPriceAnswer(stored!)
    await auditPrice(transaction, `price:e2b/${tier}/${region}`, replaced && e2bPriceAnswer(replaced), after)
    return after
  })
  await prices.changed()
  return answer
}

/** Audits a published version: as a change if it replaces a version of the same date, else as a new one. */
async function auditPrice(transaction: Db, subject: string, before: object | undefined, after: object): Promise<void> {
  const action = before === undefined ? 'price.create' : 'price.replace'
  await writeAudit(transaction, { action, subject, before: before ?? null, after })
}

/** Reads the time for which a version is valid. Missing dates stay missing. @throws invalidRequest */
function datesOf(body: { effective_date?: SpelledInstant; expires_at?: SpelledInstant | null }) {
  const from = body.effective_date && readInstant(body.effective_date)
  const until = body.expires_at && readInstant(body.expires_at)
  if (until) {
    if (!from) throw invalidRequest([{ pointer: '/effective_date', message: 'is required with expires_at' }])
    if (epochMicros(until) <= epochMicros(from)) {
      throw invalidRequest([{ pointer: '/expires_at', message: 'must be after effective_date' }])
    }
  }
  return { effective_date: from, expires_at: until }
}

/** The source of an administrator's version, with the given origin if there is one. A sync never supersedes such a version. */
function adminSource(origin: string | undefined): string {
  if (origin === undefined || origin === 'admin') return 'admin'
  return origin.startsWith('admin: ') ? origin : `admin: ${origin}`
}

function replacedId(replaces: number | true | undefined): number | null {
  return replaces === true ? 0 : (replaces ?? null)
}

function addedId(added: AddedPrice, name: string): number {
  if ('price_id' in added) return added.price_id
  if ('alias_of' in added) {
    throw invalidRequest([
      { pointer: '/aliases', message: `has ${added.alias_of}, which is a model with a price of its own` },
    ])
  }
  if ('size_of' in added) {
    const message = `is required: no size of tier ${added.size_of} is known`
    throw invalidRequest(['vcpu', 'memory_mib'].map((field) => ({ pointer: `/${field}`, message })))
  }
  const detail =
    added.exists === null
      ? `${name} has no version of that date to replace. Leave "replaces" out to add one.`
      : `${name} has a version of that date, with price_id ${added.exists}. Name it in "replaces" to supersede it; it is kept.`
  throw new Problem('price_exists', detail, { members: { price_id: added.exists } })
}

/** Converts amounts to decimal text. @throws invalidRequest at the amount that is out of bounds. */
function texts(amounts: Partial<Record<string, string | number>>, pointer: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(amounts).flatMap(([name, amount]) =>
      amount === undefined ? [] : [[name, usdText(amountOf(amount, `${pointer}/${name}`))]],
    ),
  )
}

const rawNumbers = (amounts: Record<string, string>) =>
  Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, usdJson(amount)]))

function modelPriceAnswer(stored: StoredModelPrice): object {
  const { long_context: long } = stored
  return {
    price_id: stored.price_id,
    provider: stored.provider,
    model: stored.model,
    aliases: stored.aliases,
    effective_date: timeText(stored.effective_date),
    expires_at: stored.expires_at === null ? null : timeText(stored.expires_at),
    source: stored.source,
    status: stored.status,
    usd_per_mtok: rawNumbers(stored.usd_per_mtok),
    usd_per_unit: rawNumbers(stored.usd_per_unit),
    long_context: long === null ? null : { ...long, usd_per_mtok: rawNumbers(long.usd_per_mtok) },
    modifiers: rawNumbers(stored.modifiers),
  }
}

function e2bPriceAnswer(stored: StoredE2bPrice): object {
  return {
    ...stored,
    vcpu: usdJson(stored.vcpu),
    usd_per_vcpu_second: usdJson(stored.usd_per_vcpu_second),
    usd_per_gib_second: usdJson(stored.usd_per_gib_second),
    price_per_second: usdJson(stored.price_per_second),
    effective_date: timeText(stored.effective_date),
    expires_at: stored.expires_at === null ? null : timeText(stored.expires_at),
  }
}
