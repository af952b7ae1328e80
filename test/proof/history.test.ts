// Ten instances decide at once over a few quotas that refuse requests, while prices change, a name moves between two models, and
// settled reservations are deleted. The seed repeats what the clients choose, not how their requests interleave.
import type pg from 'pg'
import t, { type Test } from 'tap'
import { Random } from '../../demo/random.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { printedSeed, sizeFrom } from '../helpers/seed.ts'
import { ADMIN_KEY } from '../helpers/servers/service.ts'
import { impossibilities, type Balance, type History, type Quota, type Reserve, type Settle } from './history.ts'
import { openInstance } from './instance.ts'

const INSTANCES = 10
const CLIENTS = 60
/** Requests of one run: enough to use up the limits of all quotas. */
const REQUESTS = 3_000
const RUNS = sizeFrom('PURSER_TEST_HISTORY_RUNS', 1)
const seed = printedSeed(t)

/** Millionths of a USD. */
const units = (usd: number) => Math.round(usd * 1e6)

/** Each limit is low enough to refuse some requests. */
const QUOTAS = [
  { scope: 'platform', name: 'platform', limit_usd: 26 },
  { scope: 'tenant', name: 'a', tenant_id: 'a', limit_usd: 9 },
  { scope: 'tenant', name: 'b', tenant_id: 'b', limit_usd: 12 },
  { scope: 'tenant', name: 'c', tenant_id: 'c', limit_usd: 9 },
  { scope: 'user', name: 'a/u', tenant_id: 'a', user_id: 'u', limit_usd: 4 },
  { scope: 'user', name: 'a/v', tenant_id: 'a', user_id: 'v', limit_usd: 5 },
]

const PROVIDER = 'proof'
/** The lowest price of a million tokens of each model; prices stay below one and a half times this. */
const MODELS = { 'm-1': 20_000, 'm-2': 100_000 }
/** Another name, which moves between the two models. */
const NAME = 'x'
/** A call uses at most half of its hold, so that a price that rises meanwhile causes no overrun. */
const TOKENS = 1_000_000

type Body = {
  resource_type: string
  tenant_id: string
  user_id?: string
  estimated_cost_usd?: number
  llm?: { provider: string; model: string; input_tokens: number; max_output_tokens: number }
}
/** A call of a model is priced by the service, so its amount is null until it is answered. */
type Request = { key: string; body: Body; scopes: string[]; amount: number | null }

/** How to settle a hold. Commits of one hold may have different amounts; then one of them wins. */
type Plan = { id: string; amount: number; priced: boolean; release: boolean; sent: number }

/** What the clients of one run share. */
class Run {
  readonly history: History = { quotas: [], reserves: [], settles: [], deleted: new Set() }
  readonly requests: Request[] = []
  readonly granted: Request[] = []
  readonly plans: Plan[] = []
  /** Plans that no client will repeat any more; many of these reservations are deleted by now. */
  readonly settled: Plan[] = []
  unavailable = 0
  published = 0
  deleted = 0
  /** Cost records whose calls were priced as the other model. */
  readonly repriced: string[] = []
}

/** The model with this price. */
const modelOf = (amount: number) =>
  Object.entries(MODELS).find(([, least]) => amount >= least && amount < 1.5 * least)?.[0]

async function publish(pool: pg.Pool, random: Random): Promise<void> {
  const model = random.pick(Object.keys(MODELS) as (keyof typeof MODELS)[])
  // Even, so that half of the tokens also cost whole units.
  const amount = MODELS[model] + 2 * random.whole(0, MODELS[model] / 5)
  const card = {
    ...{ provider: PROVIDER, model, source: 'test', aliases: random.chance(0.5) ? [NAME] : [] },
    usd_per_mtok: { input: (amount / 1e6).toFixed(6), output: '0' },
  }
  await pool.query(
    `select copilot_internal.publish_model_prices(jsonb_build_array($1::jsonb || jsonb_build_object('effective_date', clock_timestamp())))`,
    [JSON.stringify(card)],
  )
}

class Client {
  readonly #random: Random
  readonly #run: Run
  readonly #urls: string[]
  readonly #pool: pg.Pool

  constructor(seed: number, run: Run, urls: string[], pool: pg.Pool) {
    this.#random = new Random(seed)
    this.#run = run
    this.#urls = urls
    this.#pool = pool
  }

  /** One request of any kind, to any instance. */
  async act(n: number): Promise<void> {
    const random = this.#random
    const { requests, granted } = this.#run
    const dice = random.next()
    if (dice < 0.01) return this.#publish()
    if (dice < 0.02) return this.#delete()
    const { settled } = this.#run
    const plan = dice < 0.05 && settled.length > 0 ? random.pick(settled) : this.#somePlan()
    if (plan !== undefined && dice < 0.5) return plan.release ? this.#release(plan.id) : this.#commit(plan)
    if (requests.length > 0 && dice < 0.62) return this.#reserve(random.pick(requests.slice(-80)))
    if (granted.length > 0 && dice < 0.65) {
      const known = random.pick(granted)
      const { llm: _llm, ...body } = known.body
      return this.#reserve({ ...known, body: { ...body, estimated_cost_usd: 77 }, amount: units(77) })
    }
    const request = this.#newRequest(n)
    requests.push(request)
    return this.#reserve(request)
  }

  async #publish(): Promise<void> {
    await publish(this.#pool, this.#random)
    this.#run.published += 1
  }

  /** Keep reservations that were settled a moment ago, because clients may still repeat their requests. */
  async #delete(): Promise<void> {
    const { rows } = await this.#pool.query<{ deleted: number }>(
      `select copilot_internal.delete_settled(clock_timestamp() - interval '0.5 seconds', 500) as deleted`,
    )
    this.#run.deleted += rows[0]!.deleted
  }

  #somePlan(): Plan | undefined {
    const { plans } = this.#run
    if (plans.length === 0) return undefined
    // The oldest hold first, so that its amount is free again; each is settled up to three times.
    const place = this.#random.whole(0, Math.min(plans.length, 40) - 1)
    const plan = plans[place]!
    plan.sent += 1
    if (plan.sent === 3) this.#run.settled.push(...plans.splice(place, 1))
    return plan
  }

  #newRequest(n: number): Request {
    const random = this.#random
    const tenant = random.pick(['a', 'a', 'b', 'c'])
    const user = tenant === 'a' ? random.pick(['u', 'v', 'w', null]) : null
    const amount = random.chance(0.5)
      ? null
      : random.pick([10_000, 250_000, 1_000_000, 3_100_000]) + random.whole(0, 9_999)
    const model = random.pick([...Object.keys(MODELS), NAME, NAME, NAME, NAME])
    const asked =
      amount === null
        ? { llm: { provider: PROVIDER, model, input_tokens: 2 * TOKENS, max_output_tokens: 1 } }
        : { estimated_cost_usd: amount / 1e6 }
    return {
      key: `key-${n}`,
      body: { resource_type: 'llm', tenant_id: tenant, ...(user === null ? {} : { user_id: user }), ...asked },
      scopes: ['platform', tenant, ...(user === null ? [] : [`${tenant}/${user}`])],
      amount,
    }
  }

  async #reserve(request: Request): Promise<void> {
    const { history, granted, plans } = this.#run
    const { key, body, scopes } = request
    const { status, json, sent, answered, replayed } = await this.#post('/v1/reservations', body, {
      'idempotency-key': key,
    })
    const amount = request.amount ?? units(status === 201 ? json.reserved_usd : (json.requested_usd ?? 0))
    const about = { key, body: JSON.stringify(body), scopes, amount, sent, answered }
    if (status === 201) {
      const id: string = json.reservation_id
      history.reserves.push({
        ...about,
        status: replayed ? 'replayed' : 'granted',
        id,
        balances: balancesOf(json.quotas),
      })
      if (replayed) return
      granted.push(request)
      plans.push({ id, amount, priced: request.amount === null, release: this.#random.chance(0.5), sent: 0 })
    } else if (status === 429) {
      history.reserves.push({ ...about, status: 'refused', balances: balancesOf(json.violations) })
    } else if (status === 422) history.reserves.push({ ...about, status: 'mismatch' })
    else throw new Error(`reserve answered ${status}: ${JSON.stringify(json)}`)
  }

  async #commit({ id, amount, priced }: Plan): Promise<void> {
    const part = this.#random.pick([1, 1, 4, 10])
    // Half of the tokens, or all of them.
    const share = part < 10 ? 2 : 1
    const body = priced
      ? { usage: { input_tokens: TOKENS / share, output_tokens: 0 } }
      : { actual_cost_usd: Math.floor((amount * part) / 10) / 1e6 }
    const { status, json, sent, answered } = await this.#post(`/v1/reservations/${id}/commit`, body)
    const about = { kind: 'commit' as const, id, sent, answered }
    const { settles } = this.#run.history
    if (status === 200) {
      const cost = units(json.cost_usd)
      settles.push({ ...about, cost, status: 'committed', recordId: json.cost_record_id })
      if (priced && modelOf(cost * share) !== modelOf(amount / 2))
        this.#run.repriced.push(`${id}: ${amount}, then ${cost}`)
    } else if (status === 409) settles.push({ ...about, cost: 0, status: 'conflict' })
    else if (status === 404) settles.push({ ...about, status: 'gone' })
    else throw new Error(`commit answered ${status}: ${JSON.stringify(json)}`)
  }

  async #release(id: string): Promise<void> {
    const { status, json, sent, answered } = await this.#post(`/v1/reservations/${id}/release`, {})
    const about = { kind: 'release' as const, id, sent, answered }
    if (status === 200) this.#run.history.settles.push({ ...about, status: 'released' })
    else if (status === 404) this.#run.history.settles.push({ ...about, status: 'gone' })
    else throw new Error(`release answered ${status}: ${JSON.stringify(json)}`)
  }

  /** Retries until the request is decided: on a busy machine Postgres may not answer for a while. */
  async #post(path: string, body: object, headers: Record<string, string> = {}) {
    const sent = performance.now()
    for (;;) {
      const answer = await this.#try(path, body, headers)
      if (answer.status !== 503) return { ...answer, sent, answered: performance.now() }
      this.#run.unavailable += 1
    }
  }

  async #try(path: string, body: object, headers: Record<string, string>) {
    const response = await fetch(this.#random.pick(this.#urls) + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    // Tests assert the fields that they read, so the type of a body would add nothing.
    // oxlint-disable-next-line typescript/no-explicit-any
    const json = (await response.json()) as any
    return { status: response.status, json, replayed: response.headers.get('idempotency-replayed') === 'true' }
  }
}

function balancesOf(quotas: { quota_id: number; spent_usd: number; reserved_usd: number }[]): Balance[] {
  return quotas.map((one) => ({ quotaId: one.quota_id, usedAmount: units(one.spent_usd) + units(one.reserved_usd) }))
}

for (let n = 0; n < RUNS; n += 1) {
  t.test(
    `ten instances at once leave a possible history: no limit exceeded, one effect for each key (seed ${seed + n})`,
    (t) => play(t, seed + n),
  )
}

async function play(t: Test, seed: number): Promise<void> {
  const database = await createDatabase(t)
  // One after the other: building an app blocks this process for longer than a pool waits for a connection.
  const urls: string[] = []
  while (urls.length < INSTANCES) urls.push(await openInstance(t, database.url))
  const run = new Run()
  const { history } = run
  for (const { name, ...quota } of QUOTAS) {
    const response = await fetch(`${urls[0]}/v1/quotas`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...quota, period: 'total' }),
    })
    const { quota_id: quotaId, limit_usd: limitUsd } = (await response.json()) as {
      quota_id: number
      limit_usd: number
    }
    history.quotas.push({ quotaId, scope: name, limit: units(limitUsd) })
  }

  for (const [model, least] of Object.entries(MODELS)) {
    const card = { provider: PROVIDER, model, source: 'test', effective_date: '1970-01-01T00:00:00Z', aliases: [NAME] }
    const rates = { input: (least / 1e6).toFixed(6), output: '0' }
    await database.pool.query('select copilot_internal.publish_model_prices($1)', [
      JSON.stringify([{ ...card, usd_per_mtok: rates }]),
    ])
  }

  // No reservation is deleted before this has read the cost records of early releases.
  for (let looked = 1; looked > 0;) {
    const { rows } = await database.pool.query<{ looked: number }>(
      'select copilot_internal.keep_line_facts(100) as looked',
    )
    looked = rows[0]!.looked
  }

  let next = 0
  const storm = async () => {
    await Promise.all(
      Array.from({ length: CLIENTS }, async (_, n) => {
        const client = new Client(seed + n * 7919, run, urls, database.pool)
        while (next < REQUESTS) await client.act(next++)
      }),
    ).finally(() => (next = REQUESTS))
  }
  // Meanwhile read Postgres itself: no committed balance is ever above its limit.
  let looks = 0
  const above = new Set<string>()
  const look = async () => {
    while (next < REQUESTS) {
      const { rows } = await database.pool.query<{ subject: string }>(
        `select quota_id || ' holds ' || spent + reserved as subject from copilot_internal.quota_periods where spent + reserved > limit_usd`,
      )
      for (const { subject } of rows) above.add(subject)
      looks += 1
    }
  }
  await Promise.all([storm(), look()])

  t.same([...above], [], `${looks} looks at the balances meanwhile`)
  const counts = new Map<string, number>()
  for (const { status } of [...history.reserves, ...history.settles]) counts.set(status, (counts.get(status) ?? 0) + 1)
  const { unavailable, published, deleted } = run
  t.comment(JSON.stringify({ ...Object.fromEntries(counts), unavailable, published, deleted }))
  for (const status of ['granted', 'replayed', 'refused', 'mismatch', 'committed', 'conflict', 'released', 'gone'])
    t.ok((counts.get(status) ?? 0) > REQUESTS / 1_000, `${status}: the history has some of each kind`)
  const bound = history.quotas.filter(({ quotaId }) =>
    history.reserves.some((one) => one.status === 'refused' && one.balances.some((at) => at.quotaId === quotaId)),
  )
  t.ok(bound.length > QUOTAS.length / 2, `limits that bound: ${bound.map(({ scope }) => scope).join(', ')}`)
  await noteDeleted(t, database.pool, run)
  t.same(impossibilities(history), [])
  t.same(run.repriced, [], 'no call was priced as the other model’s')
  await assertAsAnswered(t, database.pool, history)
  await assertHealthy(t, database.pool)
}

/** Notes answered reservations that are missing now as deleted, and asserts that their number is the reported one. */
async function noteDeleted(t: Test, pool: pg.Pool, { history, deleted }: Run): Promise<void> {
  const { rows } = await pool.query<{ id: string }>('select reservation_id as id from copilot_internal.reservations')
  const stored = new Set(rows.map(({ id }) => id))
  for (const one of history.reserves) if ('id' in one && !stored.has(one.id)) history.deleted.add(one.id)
  t.equal(history.deleted.size, deleted, 'the number of missing reservations is the reported number of deleted ones')
}

/** Asserts that the tables contain exactly the answered reservations and settlements. */
async function assertAsAnswered(t: Test, pool: pg.Pool, { reserves, settles, deleted }: History): Promise<void> {
  const { rows } = await pool.query<{ id: string; key: string | null; status: string; record: string | null }>(
    `select reservation_id as id, idempotency_key as key, status, cost_record_id as record from copilot_internal.reservations`,
  )
  const stored = rows.map(({ id, key }) => `${id} ${key}`)
  const answered = new Set(
    reserves.flatMap((one) => ('id' in one && !deleted.has(one.id) ? [`${one.id} ${one.key}`] : [])),
  )
  t.same(stored.toSorted(), [...answered].toSorted(), 'each reservation was answered, and each answer is stored')
  const found = new Map(rows.map(({ id, status, record }) => [id, record === null ? status : `${status} ${record}`]))
  const settled = settles.filter((one) => one.status === 'committed' || one.status === 'released')
  const wrong = settled.filter(
    (one) =>
      !deleted.has(one.id) &&
      found.get(one.id) !== (one.status === 'committed' ? `committed ${one.recordId}` : 'released'),
  )
  t.same(wrong, [], 'each settlement is stored as it was answered')
  const { rows: lines } = await pool.query<{ lines: string }>(
    'select count(*) as lines from copilot_internal.llm_cost_records',
  )
  const committed = new Set(settled.flatMap((one) => (one.status === 'committed' ? [one.id] : [])))
  t.equal(Number(lines[0]!.lines), committed.size, 'one cost record for each commit')
}

t.test('impossible histories are detected, and possible ones pass', (t) => {
  const quotas: Quota[] = [{ quotaId: 1, scope: 'a', limit: 10 }]
  const grant = (id: string, amount: number, sent: number, answered: number, used: number): Reserve => {
    const balances = [{ quotaId: 1, usedAmount: used }]
    return { key: `key of ${id}`, body: '', scopes: ['a'], amount, sent, answered, status: 'granted', id, balances }
  }
  const refusal = (amount: number, sent: number, answered: number, used: number): Reserve => {
    const balances = [{ quotaId: 1, usedAmount: used }]
    return { key: null, body: '', scopes: ['a'], amount, sent, answered, status: 'refused', balances }
  }
  const commit = (id: string, cost: number, sent: number, answered: number, recordId = 'r'): Settle => {
    return { kind: 'commit', id, cost, sent, answered, status: 'committed', recordId }
  }
  const faults = (reserves: Reserve[], settles: Settle[] = [], deleted: string[] = []) =>
    impossibilities({ quotas, reserves, settles, deleted: new Set(deleted) })

  t.same(faults([grant('x', 6, 1, 2, 6), refusal(5, 1.5, 3, 6)], [commit('x', 1, 2.5, 4)]), [])
  t.match(faults([grant('x', 6, 1, 2, 6), grant('y', 6, 3, 4, 12)]), [/^a held at least 12 of 10 at 4$/])
  t.match(faults([grant('x', 6, 1, 2, 6), refusal(5, 5, 6, 6)], [commit('x', 1, 3, 4)]), [
    /a never held 6 between 5 and 6/,
  ])
  t.match(faults([grant('x', 6, 3, 4, 6), refusal(5, 1, 2, 6)]), [/a never held 6 between 1 and 2/])
  t.match(faults([refusal(10, 1, 2, 0)]), [/a had room, 0 of 10 used/])
  t.match(faults([grant('x', 1, 1, 2, 1), grant('x', 1, 3, 4, 1)]), [/^x was granted twice$/])
  t.match(faults([grant('x', 1, 1, 2, 1), { ...grant('y', 1, 3, 4, 2), key: 'key of x' }]), [/has two effects/])
  const again: Reserve = { ...grant('y', 1, 6, 7, 2), key: 'key of x' }
  t.same(faults([grant('x', 1, 1, 2, 1), again], [commit('x', 1, 3, 4)], ['x']), [], 'a deleted key can be used again')
  t.match(faults([grant('x', 1, 1, 2, 1)], [], ['x']), [/was deleted and never settled/])
  const gone: Settle = { kind: 'release', id: 'x', sent: 5, answered: 6, status: 'gone' }
  t.match(faults([grant('x', 1, 1, 2, 1)], [commit('x', 1, 3, 4), gone]), [/was gone and never deleted/])
  t.match(faults([grant('x', 1, 1, 2, 1)], [commit('x', 1, 3, 4), commit('x', 1, 5, 6, 'other')]), [/booked twice/])
  t.match(faults([], [commit('x', 1, 3, 4)]), [/settled and never granted/])
  t.end()
})
