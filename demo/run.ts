import { randomBytes } from 'node:crypto'
import { callerOf, type Call } from './api.ts'
import { readBooksByHttp, readBooksBySql, type Books } from './books.ts'
import { compare } from './compare.ts'
import { planModelCalls } from './model-calls.ts'
import { giveQuotas, playSteps, type Outcome } from './play.ts'
import type { Progress } from './progress.ts'
import { Random } from './random.ts'
import type { Report } from './report.ts'
import { planSandboxRuns } from './sandbox-runs.ts'
import type { Step } from './step.ts'
import { tally } from './tally.ts'
import { TENANTS, type Tenant } from './tenants.ts'

/** The service to play on. `databaseUrl` if the tables can be read as well. */
export type Target = { url: string; adminKey: string; databaseUrl: string | null }

type Plan = { tenant: Tenant; tenantId: string; steps: Step[] }

/** The lifetime of the demo's keys, so that a key left by a killed run expires. */
const KEY_LIFE_MS = 3_600_000
const SEED_STRIDE = 0x9e37_79b1

/** Plays the input of a seed for new tenants, and compares the answers with the books. */
export async function run(target: Target, seed: number, progress: Progress, interrupt: AbortSignal): Promise<Report> {
  const admin = callerOf(target.url, target.adminKey, interrupt)
  const name = `demo-${randomBytes(4).toString('hex')}`
  const plans = TENANTS.map((tenant, index) => planTenant(tenant, `${name}-${tenant.name}`, seed + index * SEED_STRIDE))
  const outcomes = await withServiceKey(target, name, admin, async (key) => {
    for (const { tenantId, tenant } of plans) await giveQuotas(admin, tenantId, tenant)
    return playAll(target.url, key, plans, seed, progress, interrupt)
  })
  const accounts = plans.flatMap(({ tenant, tenantId }) =>
    (['llm', 'e2b'] as const).map((type) => tally(outcomes, tenantId, type, tenant.limitUsd[type])),
  )

  progress.say('comparing with the books')
  const tenantIds = plans.map(({ tenantId }) => tenantId)
  const books: Books[] = [await readBooksByHttp(admin, tenantIds)]
  if (target.databaseUrl !== null) books.push(await readBooksBySql(target.databaseUrl, tenantIds))
  const refused = outcomes.some(({ end }) => end === 'refused')
  return {
    seed,
    outcomes,
    accounts,
    checked: books.map(({ source, records, balances }) => ({
      source,
      records: records.length,
      quotas: balances.length,
    })),
    differences: [
      ...books.flatMap((one) => compare(outcomes, accounts, one).map((difference) => `${one.source}: ${difference}`)),
      ...(refused ? [] : ['no tenant was refused: does PURSER_ENFORCEMENT of this service say warn or off?']),
    ],
  }
}

function planTenant(tenant: Tenant, tenantId: string, seed: number): Plan {
  const random = new Random(seed)
  return { tenant, tenantId, steps: [...planModelCalls(random, tenant), ...planSandboxRuns(random, tenant)] }
}

/** Runs work with a key of role service, and always revokes it. */
async function withServiceKey<Result>(
  { url, adminKey }: Target,
  name: string,
  admin: Call,
  use: (key: string) => Promise<Result>,
): Promise<Result> {
  const expiresAt = new Date(Date.now() + KEY_LIFE_MS).toISOString()
  const made = await admin<{ key_id: string; key: string }>('POST', '/v1/api-keys', {
    body: { name, role: 'service', expires_at: expiresAt },
  })
  try {
    return await use(made.key)
  } finally {
    // Also after an interrupt. An earlier error is reported rather than a failure here.
    const last = callerOf(url, adminKey, new AbortController().signal)
    await last('DELETE', `/v1/api-keys/${made.key_id}`).catch(() => {})
  }
}

/**
 * Plays all tenants at the same time, as in a real service. They share no quota, so they do not affect each other's
 * figures.
 */
async function playAll(
  url: string,
  key: string,
  plans: readonly Plan[],
  seed: number,
  progress: Progress,
  interrupt: AbortSignal,
): Promise<Outcome[]> {
  const total = plans.reduce((sum, { steps }) => sum + steps.length, 0)
  let done = 0
  progress.say(`playing ${total} reservations of ${plans.length} tenants, seed ${seed}`)
  const onStep = () => {
    done += 1
    progress.step(`${done} of ${total} reservations`)
  }
  // If one tenant fails, the others stop and the run fails with its error.
  const stop = new AbortController()
  const call = callerOf(url, key, AbortSignal.any([interrupt, stop.signal]))
  const plays = await Promise.allSettled(
    plans.map(({ tenantId, steps }) =>
      playSteps(call, tenantId, steps, onStep).catch((error: unknown) => {
        stop.abort(error)
        throw error
      }),
    ),
  )
  return plays.flatMap((play) => {
    if (play.status === 'fulfilled') return play.value
    throw play.reason
  })
}
