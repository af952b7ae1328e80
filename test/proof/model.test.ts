// Several clients send random calls to Postgres and to a small model of the rules, over midnights, month ends, and changes of
// clocks and prices. Every answer, balance and cost record must agree to the last decimal.
import { randomUUID } from 'node:crypto'
import Big from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import { uuidv7 } from 'uuidv7'
import { keepLineFacts } from '../../src/db/archives/archives.ts'
import { expireReservations } from '../../src/db/reservations/expire-reservations.ts'
import { correctRecord } from '../../src/db/costs/correct-record.ts'
import { publishE2bPrices, publishModelPrices } from '../../src/db/prices/price-versions.ts'
import { deleteQuota, setQuotas } from '../../src/db/quotas/quotas.ts'
import { reserveSpend } from '../../src/db/reservations/reserve-spend.ts'
import { rerate } from '../../src/services/costs/rerate.ts'
import { createDatabase } from '../helpers/database.ts'
import { printedSeed, sizeFrom } from '../helpers/seed.ts'
import { booking, hashOfSaid, hold, openSession, spending, type Session } from '../helpers/money/spend.ts'
import { Estimates, PROVIDER } from './estimates.ts'
import {
  balanceLine,
  costLine,
  Model,
  plain,
  type About,
  type Enforcement,
  type Measure,
  type Operation,
  type QuotaName,
  type Resource,
  type ReserveInput,
  type ExtendInput,
  type Total,
  type Rules,
} from './model.ts'
import { estimateSeconds, estimateTokens, meantBy, type NewCard } from './prices.ts'

const seed = printedSeed(t)
const CLIENTS = 3
const RUNS = sizeFrom('PURSER_TEST_MODEL_RUNS', 25)

const QUOTAS: QuotaName[] = [
  { resource: 'llm', scope: '', period: 'day' },
  { resource: 'llm', scope: '', period: 'month' },
  { resource: 'llm', scope: 'a', period: 'day' },
  { resource: 'llm', scope: 'a', period: 'hour' },
  { resource: 'llm', scope: 'a', period: 'week' },
  { resource: 'llm', scope: 'b', period: 'total' },
  { resource: 'llm', scope: 'a/u', period: 'month' },
  { resource: 'llm', scope: 'b/v', period: 'day' },
  { resource: 'e2b', scope: '', period: 'day' },
  { resource: 'e2b', scope: 'a', period: 'hour' },
]

const LONG_AGO = 0
const TIER = 'proof'
const MODELS = ['m-1', 'm-2', 'm-3', 'x']
/** Names in requests: models, and names that are aliases at some time. */
const NAMES = [...MODELS, 'y']
/** Published before anything else. */
const FIRST_CARDS: NewCard[] = [
  { from: LONG_AGO, model: 'm-1', rates: { input: '1', output: '5' }, names: ['x'] },
  { from: LONG_AGO, model: 'm-2', rates: { input: '0.3', output: '2.500001' }, names: ['y'] },
  { from: LONG_AGO, tier: TIER, size: { vcpu: 1, usdPerVcpuSecond: '0.001' } },
]

// ---- Random inputs, chosen before the reservations and cost records that they refer to exist

const usd = (digits: fc.Arbitrary<number>) =>
  fc.tuple(digits, fc.constantFrom(0, 2, 6, 12)).map(([n, scale]) => new Big(n).div(new Big(10).pow(scale)).toFixed())
const amount = usd(fc.nat(20))
const one = fc.nat(11)

const name = fc.constantFrom(...NAMES)
const tokens = fc.record({
  input_tokens: fc.constantFrom(0, 1_000, 1_000_003, 2_500_000),
  output_tokens: fc.constantFrom(1, 4_096, 1_000_000),
})
const seconds = fc.constantFrom(45, 600, 4_000.5, 86_400)
const rate = fc.constantFrom('0', '0.15', '1', '2.500001', '40')
/** A request in priced units; null: in USD. */
const ask = fc.oneof(
  { weight: 4, arbitrary: fc.constant(null) },
  { weight: 4, arbitrary: fc.record({ name, tokens }) },
  { weight: 3, arbitrary: fc.record({ tier: fc.constant(TIER), seconds }) },
)
/** The report of a commit, a record or a correction: the cost, the usage, or that another model answered. */
const said = fc.record({
  cost: amount,
  by: fc.constantFrom('cost', 'usage', 'usage', 'another'),
  name,
  tokens,
  seconds,
})
type Said = Generated<typeof said>

type Generated<Arbitrary> = Arbitrary extends fc.Arbitrary<infer Value> ? Value : never

const request = fc
  .record({
    tenant: fc.constantFrom('a', 'b'),
    user: fc.constantFrom(null, 'u', 'v'),
    amount,
    unit: fc.option(fc.constantFrom('2', '0.3', '0.07', '0.000007'), { freq: 2, nil: null }),
    keyed: fc.boolean(),
    ttlSeconds: fc.constantFrom(60, 600, 7_200, 86_400, 90_000),
    charge: fc.boolean(),
    ask,
    free: fc.nat(5).map((n) => n === 0),
  })
  .map((one) => (one.free ? { ...one, amount: '0', unit: null } : one))
type Request = Generated<typeof request>

const rules = fc.record({
  limit: usd(fc.nat(60)),
  enforcement: fc.constantFrom<Enforcement>('enforce', 'enforce', 'enforce', 'warn', 'off'),
  timeZone: fc.constantFrom('UTC', 'Europe/Dublin', 'America/New_York', 'Asia/Kathmandu', 'Atlantic/Azores'),
  weekStartsOn: fc.constantFrom(1, 7),
  billingDay: fc.constantFrom(1, 15, 31),
})

/** When a card takes effect; null: at the earliest date of prices. */
const dates = fc.constantFrom(null, -86_400_000, -60_000, 0, 60_000, 60_000, 420_000, 3_600_000, 86_400_000)

const publishing = fc.record({
  publish: fc.record({
    model: fc.constantFrom(...MODELS),
    rates: fc.record({ input: rate, output: rate }),
    names: fc.subarray(['x', 'y']),
    inMs: dates,
  }),
})
const resizing = fc.record({
  resize: fc.record({
    vcpu: fc.constantFrom(1, 2),
    usdPerVcpuSecond: fc.constantFrom('0', '0.000014', '0.001', '0.02'),
    inMs: dates,
  }),
})

/** A number identifies a request, or counts holds and cost records back from the last; the same number again is a repeat. */
const anyInput = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      reserve: fc.array(fc.record({ n: one, other: fc.boolean() }), { minLength: 1, maxLength: 6 }),
      looks: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ commit: fc.array(fc.record({ n: one, said }), { minLength: 1, maxLength: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ release: fc.array(one, { minLength: 1, maxLength: 3 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      extend: fc.array(
        // Mostly a larger amount.
        fc.record({
          n: one,
          total: fc.option(amount, { freq: 4 }),
          ttlSeconds: fc.constantFrom(null, 60, 7_200, 86_400),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ expire: fc.constant(true) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      record: fc.array(
        fc.record({
          n: one,
          other: fc.boolean(),
          said,
          agoMs: fc.constantFrom(0, -240_000, -360_000, 60_000, 7_200_000, 90_000_000, 300_000_000),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ correct: fc.record({ n: one, said }) }) },
  { weight: 2, arbitrary: publishing },
  { weight: 1, arbitrary: resizing },
  { weight: 1, arbitrary: fc.record({ rerate: fc.constant(true) }) },
  { weight: 1, arbitrary: fc.record({ forgetMs: fc.constantFrom(0, 60_000, 7_200_000, 90_000_000) }) },
  {
    weight: 3,
    // Mostly only the limit changes.
    arbitrary: fc.record({ set: fc.record({ n: fc.nat(QUOTAS.length - 1), rules, limitOnly: fc.boolean() }) }),
  },
  { weight: 1, arbitrary: fc.record({ remove: fc.nat(QUOTAS.length - 1) }) },
)
type Input = Generated<typeof anyInput>

/** Moments shortly before something ends or changes. */
const START = fc.constantFrom(
  '2026-10-24T22:40:00Z',
  '2026-10-25T23:50:00Z',
  '2026-11-10T10:56:30Z',
  '2026-11-01T03:30:00Z',
  '2026-11-30T23:30:00Z',
  '2026-12-31T18:00:00Z',
  '2027-03-27T23:30:00Z',
  '2028-02-28T23:45:00Z',
)
const MINUTE = 60_000
const HOUR = 60 * MINUTE
/** A correction of the system clock may set it back this far. */
const jump = fc.constantFrom(-1_000, -20_000)
const pause = fc.constantFrom(1, 7, 31, 60, 300, 1_140, 1_440, 11_520).map((minutes) => minutes * MINUTE)

// ---- The model and the service

type Real = { sessions: Session[]; requests: Request[]; estimates: Estimates }
/** Replaced as a whole once the order of simultaneous calls is known. */
type State = { model: Model; holds: string[] }

/** The amount of a request. Asserts that the estimates of the service and of the model agree. */
async function askOf(
  { ask: asks, tenant, amount: cost, unit, free, ttlSeconds }: Request,
  { book, now }: Model,
  estimates: Estimates,
): Promise<Omit<ReserveInput, 'id' | 'key' | 'hash' | 'tenant' | 'user' | 'charge'>> {
  const about: About = { name: null, pricedModel: null, tier: null }
  const inUsd = { asked: cost, input: 0, amount: cost, fixed: '0', unit, ttlSeconds, ttlBeyondUnits: null, free }
  if (asks === null) return { resource: 'llm', about, ...inUsd }
  const estimate = await estimates.of(asks, tenant, now)
  const expected =
    'tier' in asks
      ? estimateSeconds(book, asks.tier, now, String(asks.seconds))
      : estimateTokens(book, asks.name, now, asks.tokens)
  equal(
    estimate && [
      estimate.amountUsd,
      estimate.fixedUsd,
      estimate.perUnitUsd,
      estimate.isFree,
      estimate.about.priced_model ?? null,
    ],
    expected && [expected.amount, expected.fixed, expected.unit, expected.free, expected.pricedModel],
    `the estimate of ${JSON.stringify(asks)}`,
  )
  if (expected === null) return { resource: 'llm', about, ...inUsd }
  const usd = { amount: plain(expected.amount), fixed: plain(expected.fixed), free: expected.free }
  const costs = { ...usd, unit: unit === null || expected.unit.eq(0) ? null : plain(expected.unit) }
  if ('tier' in asks) {
    const lives = { ttlSeconds: Math.ceil(asks.seconds) + 60, ttlBeyondUnits: 60 }
    return {
      resource: 'e2b',
      about: { ...about, tier: asks.tier },
      asked: String(asks.seconds),
      input: 0,
      ...costs,
      ...lives,
    }
  }
  const named = { ...about, name: asks.name, pricedModel: expected.pricedModel }
  const { input_tokens: input, output_tokens: output } = asks.tokens
  return { resource: 'llm', about: named, asked: String(output), input, ...costs, ttlSeconds, ttlBeyondUnits: null }
}

/** A report about something that exists; about something unknown, only a cost. */
function measureOf(
  { by, cost, name: answered, tokens: used, seconds: ran }: Said,
  known: { resource: Resource; about: About } | undefined,
): Measure {
  if (by === 'cost' || known === undefined) return { cost }
  if (known.resource === 'e2b') return { seconds: String(ran) }
  return { tokens: used, name: by === 'another' || known.about.name === null ? answered : null }
}

/** The new total of a hold; null where only its time is extended. */
async function totalOf(id: string, usd: string, { holds, book }: Model, estimates: Estimates): Promise<Total | null> {
  const known = holds.get(id)
  // A hold that was granted fewer units than requested no longer has the amount of its estimate.
  if (known?.capped === true) return null
  if (known === undefined || (known.about.name ?? known.about.tier) === null)
    return { asked: usd, amount: usd, estimate: { estimated_cost_usd: usd } }
  const asked = Math.ceil(Number(known.asked) * (1 + Number(usd) / 20))
  const { pricedModel, tier } = known.about
  const expected =
    pricedModel === null
      ? estimateSeconds(book, tier!, known.createdAt, String(asked))
      : estimateTokens(book, pricedModel, known.createdAt, { input_tokens: known.input, output_tokens: asked })
  const total = await estimates.ofTotal(id, asked)
  equal(total.amount, plain(expected!.amount), `the estimate of ${asked} for ${id}`)
  return total
}

async function operationOf(input: Input, state: State, { requests, estimates }: Real): Promise<Operation> {
  const { model, holds } = state
  const nobody = '00000000-0000-7000-8000-000000000000'
  const among = (n: number, ids: string[]) => ids.at(-1 - (n % Math.max(ids.length, 1))) ?? nobody
  // Sometimes one that was refused or deleted, or that another client is requesting.
  const holdOf = (n: number) => (n % 4 === 3 ? among(n, holds) : among(n, [...model.holds.keys()]))
  if ('reserve' in input) {
    const firsts = new Map(input.reserve.toReversed().map(({ n, other }) => [n, other]))
    const items: ReserveInput[] = []
    for (const { n } of input.reserve) {
      const { tenant, user, keyed, charge } = requests[n]!
      const hash = `${n}${keyed && firsts.get(n)}`
      const about = { id: uuidv7(), key: keyed ? `request ${n}` : null, hash, tenant, user, charge }
      items.push({ ...about, ...(await askOf(requests[n]!, model, estimates)) })
    }
    holds.push(...items.map(({ id }) => id))
    return { kind: 'reserve', items, looks: input.looks }
  }
  if ('commit' in input) {
    const items = input.commit.map(({ n, said: what }) => {
      const id = holdOf(n)
      return { id, measure: measureOf(what, model.holds.get(id)), recordId: uuidv7(), reversalId: randomUUID() }
    })
    return { kind: 'commit', items }
  }
  if ('release' in input) return { kind: 'release', ids: input.release.map(holdOf) }
  if ('extend' in input) {
    const open = [...model.holds.values()]
      .filter(({ status, expiresAt }) => status === 'reserved' && expiresAt > model.now)
      .map(({ id }) => id)
    const items: ExtendInput[] = []
    for (const { n, total: usd, ttlSeconds } of input.extend) {
      const id = n % 4 === 3 ? holdOf(n) : among(n, open)
      const total = usd === null ? null : await totalOf(id, usd, model, estimates)
      items.push({ id, total, ttlSeconds: ttlSeconds ?? (total === null ? 60 : null) })
    }
    // A batch extends each hold once.
    return { kind: 'extend', items: [...new Map(items.map((item) => [item.id, item])).values()] }
  }
  if ('expire' in input) return { kind: 'expire' }
  if ('record' in input) {
    const items = input.record.map(({ n, other, said: what, agoMs }) => {
      const { tenant, user, ask: asks } = requests[n]!
      const about = { id: uuidv7(), tenant, user, occurredAt: model.now - agoMs }
      const run = asks !== null && 'tier' in asks ? asks : null
      const resource: Resource = run === null ? 'llm' : 'e2b'
      const measure = measureOf(what, { resource, about: { name: null, pricedModel: null, tier: TIER } })
      const tier = run?.tier ?? null
      // A story has its own requests.
      const key = `record ${n} of ${resource} for ${tenant}/${user}`
      return { ...about, resource, tier, measure, key, hash: `${n} ${other}` }
    })
    return { kind: 'record', items }
  }
  if ('correct' in input) {
    const ids = { reversalId: uuidv7(), successorId: uuidv7() }
    const recordId = among(input.correct.n, [...model.lines.keys()])
    return { kind: 'correct', recordId, measure: measureOf(input.correct.said, model.lines.get(recordId)), ...ids }
  }
  if ('publish' in input) {
    const { model: of, rates, names, inMs } = input.publish
    const others = names.filter((other) => other !== of)
    return { kind: 'publish', card: { from: dateOf(inMs, model.now), model: of, rates, names: others } }
  }
  if ('resize' in input) {
    const { inMs, ...size } = input.resize
    return { kind: 'publish', card: { from: dateOf(inMs, model.now), tier: TIER, size } }
  }
  if ('rerate' in input) return { kind: 'rerate' }
  if ('forgetMs' in input) return { kind: 'forget', before: model.now - input.forgetMs }
  if ('set' in input) {
    const name = QUOTAS[input.set.n]!
    const known = input.set.limitOnly ? model.quota(name)?.rules : undefined
    return { kind: 'set quota', name, rules: { ...input.set.rules, ...known, limit: input.set.rules.limit } }
  }
  return { kind: 'delete quota', name: QUOTAS[input.remove]! }
}

const ACTOR = { principal: 'a test', ip: null }
const dateOf = (inMs: number | null, now: number) => (inMs === null ? LONG_AGO : now + inMs)
const timeText = (ms: number) => new Date(ms).toISOString()

/** A measure in the form of the items of src/db. */
function itemOf(measure: Measure) {
  if ('cost' in measure) return { measure: 'cost' as const, cost_usd: measure.cost }
  if ('seconds' in measure) return { measure: 'seconds' as const, seconds: measure.seconds }
  const answered = measure.name === null ? {} : { provider: PROVIDER, model: measure.name }
  return { measure: 'tokens' as const, usage: measure.tokens, ...answered }
}

/** The columns of a hold that describe its call or sandbox. */
function aboutOf({ resource, about, asked, input }: ReserveInput) {
  if (resource === 'e2b') return { tier: about.tier, region: 'us-east-1', estimate: { seconds: Number(asked) } }
  if (about.pricedModel === null) return { estimate: { estimated_cost_usd: asked } }
  const estimate = { input_tokens: input, max_output_tokens: Number(asked) }
  return { provider: PROVIDER, model: about.name, priced_model: about.pricedModel, estimate }
}

async function publishCard({ db }: Session, card: NewCard): Promise<string> {
  const dated = { effective_date: timeText(card.from), source: 'test' }
  const counts =
    'tier' in card
      ? await publishE2bPrices(db, [
          {
            ...dated,
            ...{ tier: card.tier, vcpu: card.size.vcpu, memory_mib: 1024, usd_per_gib_second: '0' },
            usd_per_vcpu_second: card.size.usdPerVcpuSecond,
          },
        ])
      : await publishModelPrices(db, [
          { ...dated, provider: PROVIDER, model: card.model, usd_per_mtok: card.rates, aliases: card.names },
        ])
  return (['added', 'unchanged', 'superseded', 'heldBack'] as const).find((outcome) => counts[outcome] === 1)!
}

/** Runs an operation in Postgres; returns its answer in the model's form. */
async function perform(session: Session, todo: Operation, { estimates }: Pick<Real, 'estimates'>): Promise<unknown> {
  switch (todo.kind) {
    case 'reserve': {
      const decisions = await reserveSpend(
        session.db,
        todo.items.map((item) =>
          hold(item.tenant, item.amount, {
            ...aboutOf(item),
            resource_type: item.resource,
            reservation_id: item.id,
            user_id: item.user,
            idempotency_key: item.key,
            // Each repeat describes the same request in other words.
            request_hash: hashOfSaid(item.hash, item.id),
            ttl_seconds: item.ttlSeconds,
            ...(item.ttlBeyondUnits === null ? {} : { ttl_beyond_units: item.ttlBeyondUnits }),
            on_expiry: item.charge ? 'charge' : 'release',
            is_free: item.free,
            ...(item.unit === null ? {} : { fixed_usd: item.fixed, per_unit_usd: item.unit }),
            caps_name: item.resource === 'llm' ? 'max_output_tokens' : 'max_runtime_seconds',
          }),
        ),
        'enforce',
        todo.looks,
      )
      return decisions.map(({ outcome }) => {
        if ('granted' in outcome) {
          return { granted: plain(outcome.granted), units: outcome.units, warned: outcome.warned?.length ?? 0 }
        }
        if ('refused' in outcome) return refusal(outcome.refused)
        return 'replayed' in outcome ? { replayed: outcome.replayed.reservation_id } : outcome
      })
    }
    case 'commit': {
      const settlements = await session.commit(
        ...todo.items.map(({ id, measure, recordId, reversalId }) => {
          const said = JSON.stringify(measure)
          const { cost_usd: _cost, ...item } = booking(id, said)
          const commit_hash = hashOfSaid(said, recordId)
          return { ...item, cost_record_id: recordId, reversal_id: reversalId, commit_hash, ...itemOf(measure) }
        }),
      )
      return settlements.map(({ outcome }) => {
        if (!('committed' in outcome)) return outcome
        const { cost_usd: cost, late } = outcome.committed
        return { committed: plain(cost!), late }
      })
    }
    case 'release': {
      const releases = await session.release(...todo.ids)
      return releases.map((one) => ('settled' in one ? { settled: one.settled.status } : one))
    }
    case 'extend': {
      const extensions = await session.extend(
        ...todo.items.map(({ id, total, ttlSeconds }) => ({
          reservation_id: id,
          tenant_id: null,
          total: total === null ? null : { estimate: total.estimate, amount_usd: total.amount },
          ttl_seconds: ttlSeconds,
        })),
      )
      return extensions.map((extension) => {
        if ('refused' in extension) return refusal(extension.refused)
        if (!('extended' in extension)) return extension
        return { extended: plain(extension.extended.reserved_usd), warned: extension.warned?.length ?? 0 }
      })
    }
    case 'expire':
      return { settled: await expireReservations(session.db, 500) }
    case 'record': {
      const recording = await session.record(
        ...todo.items.map((item) => {
          const { cost_usd: _cost, ...plainest } = spending(item.tenant, '')
          return {
            ...{ ...plainest, ...itemOf(item.measure), resource_type: item.resource, tier: item.tier },
            ...{ cost_record_id: item.id, user_id: item.user, idempotency_key: item.key },
            request_hash: hashOfSaid(item.hash, item.id),
            occurred_at: timeText(item.occurredAt),
          }
        }),
      )
      if ('day_usd' in recording) throw new Error('there is no ceiling')
      if ('faults' in recording) return { faults: recording.faults.map(({ index }) => index) }
      return { records: recording.records.map((line) => `${line.cost_record_id} ${plain(line.cost_usd)}`) }
    }
    case 'correct': {
      const { recordId: costRecordId, reversalId, successorId, measure } = todo
      const ids = { costRecordId, reversalId, successorId, tenantId: null, reason: 'test' }
      const corrected = await correctRecord(session.db, ACTOR, {
        provider: null,
        model: null,
        ...ids,
        ...itemOf(measure),
      })
      return 'lines' in corrected ? { corrected: plain(corrected.lines[1]!.cost_usd) } : corrected
    }
    case 'rerate': {
      const ever = { from: '2020-01-01T00:00:00Z', to: '2100-01-01T00:00:00Z', model: null, apply: true }
      const totals = await rerate({ db: session.db, actor: ACTOR }, ever, { line: () => {}, progress: () => {} })
      const { changes, overtaken, unpriced, undecided, difference_usd: difference } = totals
      return { rerated: changes, overtaken, unpriced, undecided, difference: plain(difference) }
    }
    case 'publish': {
      const published = await publishCard(session, todo.card)
      await estimates.reload()
      return { published }
    }
    case 'forget': {
      const { rows } = await session.pool.query<{ forgotten: number }>(
        'select copilot_internal.delete_settled($1, 500) as forgotten',
        [timeText(todo.before)],
      )
      return { forgotten: rows[0]!.forgotten }
    }
    case 'set quota': {
      const { limit, enforcement, timeZone, weekStartsOn, billingDay } = todo.rules
      const [answer] = await setQuotas(session.db, [
        {
          ...keyOf(todo.name),
          limit_usd: limit,
          enforcement,
          time_zone: timeZone,
          week_starts_on: weekStartsOn,
          billing_day: billingDay,
        },
      ])
      return { made: answer!.made }
    }
    case 'delete quota': {
      const { tenant_id: tenant, user_id: user, period } = keyOf(todo.name)
      const { rows } = await session.pool.query<{ id: string }>(
        `select quota_id as id from copilot_internal.cost_quotas
         where tenant_id is not distinct from $1 and user_id is not distinct from $2 and period = $3 and resource_type = $4`,
        [tenant, user, period, todo.name.resource],
      )
      return { deleted: rows[0] !== undefined && (await deleteQuota(session.db, Number(rows[0].id))) !== null }
    }
  }
}

const refusal = ({
  largest_allowed_usd: largest,
  violations,
}: {
  largest_allowed_usd: string
  violations: unknown[]
}) => ({
  refused: { largest: plain(largest), violations: violations.length },
})

function keyOf({ resource, scope, period }: QuotaName) {
  const [tenant, user] = scope.split('/')
  const kind = scope === '' ? 'platform' : user === undefined ? 'tenant' : 'user'
  const key = { scope: kind, tenant_id: scope === '' ? null : tenant!, user_id: user ?? null, period }
  return { resource_type: resource, ...key }
}

// ---- How they are compared

/** A run of the usual size must have some of each of these answers; otherwise it would prove little. */
const KINDS = [
  'granted',
  'refused',
  'replayed',
  'committed',
  'settled',
  'extended',
  'records',
  'corrected',
  'rerated',
  'published',
  'forgotten',
  'made',
  'deleted',
]
const tally = new Map<string, number>()

function count(answer: unknown): void {
  for (const one of Array.isArray(answer) ? answer : [answer]) {
    const [kind] = Object.keys(one as object)
    tally.set(kind!, (tally.get(kind!) ?? 0) + 1)
  }
}

function equal(found: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${what}:\n  found    ${a}\n  expected ${b}`)
}

/** A repeated commit does not report again whether it was late. */
const lateOnce = (answer: unknown, expected: unknown) =>
  Array.isArray(answer) && Array.isArray(expected)
    ? answer.map((one: object, n) => {
        const said = expected[n] as object | undefined
        return 'late' in one && said !== undefined && !('late' in said) ? { ...one, late: undefined } : one
      })
    : answer

const agree = (answer: unknown, expected: unknown) =>
  JSON.stringify(lateOnce(answer, expected)) === JSON.stringify(expected)

async function balancesIn({ pool }: Session): Promise<string[]> {
  const { rows } = await pool.query<
    QuotaName &
      Record<'limit' | 'spent' | 'opening' | 'reserved' | 'startsAt' | 'endsAt', string> & {
        closed: boolean
        named: number
      }
  >(`
    select resource_type as resource, concat_ws('/', tenant_id, user_id) as scope, period, limit_usd as limit, spent, opening_usd as opening, reserved,
           closed_at is not null as closed, extract(epoch from starts_at) * 1000 as "startsAt", extract(epoch from ends_at) * 1000 as "endsAt",
           (select count(*)::integer from (
              select quota_period_ids from copilot_internal.reservations
              union all select quota_period_ids from copilot_internal.llm_cost_records
              union all select quota_period_ids from copilot_internal.e2b_cost_records) c
            where p.quota_period_id = any (c.quota_period_ids)) as named
    from copilot_internal.quota_periods p`)
  const { rows: lines } = await pool.query<
    Pick<Parameters<typeof costLine>[0], 'resource' | 'tenant' | 'user' | 'pricedModel' | 'estimate'> &
      Record<'usd' | 'bookedAt' | 'pricedAt', string>
  >(`
    select c.resource, c.tenant_id as tenant, c.user_id as user, c.total_cost_usd as usd, c.priced_model as "pricedModel",
           c.estimate_reason as estimate, extract(epoch from c.booked_at) * 1000 as "bookedAt", extract(epoch from c.priced_at) * 1000 as "pricedAt"
    from (
      select 'llm' as resource, tenant_id, user_id, total_cost_usd, priced_model, estimate_reason, booked_at, priced_at
      from copilot_internal.llm_cost_records
      union all
      select 'e2b', tenant_id, user_id, total_cost_usd, null, estimate_reason, booked_at, priced_at
      from copilot_internal.e2b_cost_records) c`)
  const balances = rows.map((row) =>
    balanceLine({ ...row, startsAt: Number(row.startsAt), endsAt: Number(row.endsAt) }),
  )
  const costs = lines.map((row) => costLine({ ...row, bookedAt: Number(row.bookedAt), pricedAt: Number(row.pricedAt) }))
  return [...balances.toSorted(), ...costs.toSorted()]
}

async function nameLines(session: Session, model: Model): Promise<void> {
  if (!model.hasUnnamed()) return
  const { rows } = await session.pool.query<{ unnamed: string; id: string }>(`
    select 'charge of ' || c.reservation_id as unnamed, c.cost_record_id as id
    from (
      select reservation_id, cost_record_id, estimate_reason, corrects from copilot_internal.llm_cost_records
      union all
      select reservation_id, cost_record_id, estimate_reason, corrects from copilot_internal.e2b_cost_records) c
    -- Also of those that were committed since, at the same moment.
    where c.estimate_reason = 'lapse' and c.corrects is null
    union all
    select n.unnamed, n.id from copilot_internal.record_corrections k
    cross join lateral (values ('reversal of ' || k.corrects, k.reversal_id), ('successor of ' || k.corrects, k.successor_id)) n(unnamed, id)`)
  for (const { unnamed, id } of rows) model.nameLine(unnamed, id)
}

/** Which model each name means around now. */
async function compareMeanings({ pool }: Session, { book, now }: Model): Promise<void> {
  const moments = [LONG_AGO, now - 90_000_000, now - 90_000, now - 1, now, now + 90_000, now + 90_000_000].map(timeText)
  const { rows } = await pool.query<{ name: string; at: number; model: string }>(
    `select n.name, m.at - 1 as at, copilot_internal.resolve_model($1, n.name, m.moment::timestamptz) as model
     from unnest($2::text[]) n(name) cross join unnest($3::text[]) with ordinality m(moment, at)`,
    [PROVIDER, NAMES, moments],
  )
  for (const { name: named, at, model } of rows) {
    equal(model, meantBy(book, named, Date.parse(moments[at]!)), `what ${named} means at ${moments[at]}`)
  }
}

function* orders<Value>(values: Value[]): Generator<Value[]> {
  if (values.length < 2) yield values
  for (const [n, value] of values.entries()) {
    if (values.length < 2) return
    for (const rest of orders(values.toSpliced(n, 1))) yield [value, ...rest]
  }
}

/** One operation of one client. */
class Act implements fc.AsyncCommand<State, Real> {
  readonly #client: number
  readonly #input: Input

  constructor(client: number, input: Input) {
    this.#client = client
    this.#input = input
  }

  check = () => true
  toString = () => `client ${this.#client}: ${JSON.stringify(this.#input)}`

  async run(state: State, real: Real): Promise<void> {
    const session = real.sessions[this.#client]!
    const todo = await operationOf(this.#input, state, real)
    const answer = await perform(session, todo, real)
    const expected = state.model.apply(todo)
    count(answer)
    equal(lateOnce(answer, expected), expected, this.toString())
    equal(await balancesIn(session), state.model.balances(), `balances after ${this.toString()}`)
    await nameLines(session, state.model)
    if (todo.kind === 'publish') await compareMeanings(session, state.model)
  }
}

/** Steps about one request that would rarely follow each other by chance; each is compared as a single operation. */
class Story implements fc.AsyncCommand<State, Real> {
  readonly #request: Request
  readonly #steps: (Act | Wait)[]

  constructor(request: Request, steps: (Act | Wait)[]) {
    this.#request = request
    this.#steps = steps
  }

  check = () => true
  toString = () => `${JSON.stringify(this.#request)}: ${this.#steps.map(String).join('; ')}`

  async run(state: State, real: Real): Promise<void> {
    for (const step of this.#steps) await step.run(state, { ...real, requests: Array<Request>(12).fill(this.#request) })
  }
}

/** Several simultaneous operations: the model must give the same answers and balances for them in some order. */
class Meet implements fc.AsyncCommand<State, Real> {
  readonly #inputs: Input[]

  constructor(inputs: Input[]) {
    this.#inputs = inputs
  }

  check = () => true
  toString = () => `at once: ${JSON.stringify(this.#inputs)}`

  async run(state: State, real: Real): Promise<void> {
    const todos: Operation[] = []
    for (const input of this.#inputs) todos.push(await operationOf(input, state, real))
    const answers = await Promise.all(todos.map((todo, n) => perform(real.sessions[n]!, todo, real)))
    // A sweep skips what others have locked, even if they do not change it; the next sweep takes it.
    const swept = todos.some(({ kind }) => kind === 'expire')
    if (swept) await perform(real.sessions[0]!, { kind: 'expire' }, real)
    const balances = await balancesIn(real.sessions[0]!)
    // An extension makes the current periods before it locks the hold. If the hold is settled by then, even a refusal has made periods.
    const moving = todos.some(({ kind }) => kind === 'extend') ? state.model.moving() : []
    for (const found of moving.length === 0 ? [[]] : [[], moving]) {
      for (const order of orders([...todos.keys()])) {
        const model = state.model.clone()
        const expected = new Map(
          order.map((n) => {
            const todo = todos[n]!
            return [n, model.apply(todo.kind === 'extend' ? { ...todo, found } : todo)]
          }),
        )
        if (swept) model.apply({ kind: 'expire' })
        // So do not compare how many a sweep settled.
        const fits = order.every((n) => todos[n]!.kind === 'expire' || agree(answers[n], expected.get(n)))
        if (!fits || JSON.stringify(balances) !== JSON.stringify(model.balances())) continue
        state.model = model
        return nameLines(real.sessions[0]!, state.model)
      }
    }
    throw new Error(`${this.toString()} answered ${JSON.stringify(answers)} as in no order; ${balances.join('\n')}`)
  }
}

/** Moves the clock of all clients; null: until three minutes before the next hour. */
class Wait implements fc.AsyncCommand<State, Real> {
  readonly #ms: number | null

  constructor(ms: number | null) {
    this.#ms = ms
  }

  check = () => true
  toString = () => {
    if (this.#ms === null) return 'until three minutes before an hour'
    return this.#ms < 0 ? `${-this.#ms / 1_000} s back` : `${this.#ms / MINUTE} minutes later`
  }

  async run({ model }: State, { sessions }: Real): Promise<void> {
    const untilEndMs = (57 * MINUTE - (model.now % HOUR) + HOUR) % HOUR
    model.now += this.#ms ?? untilEndMs
    await Promise.all(sessions.map((session) => session.moveTo(new Date(model.now).toISOString())))
  }
}

/** A request of a story, without its amount. */
const mine = { tenant: 'a' as const, user: null, amount: '1', unit: null, keyed: false, charge: false, free: false }
/** A hold whose price changes before it is extended, committed and corrected. */
const priceStory = fc
  .record({
    priced: fc.oneof(
      fc.record({ asks: fc.record({ name, tokens }), change: publishing }),
      fc.record({ asks: fc.record({ tier: fc.constant(TIER), seconds }), change: resizing }),
    ),
    pause: fc.constantFrom(1, 7, 60).map((minutes) => new Wait(minutes * MINUTE)),
    usd: fc.option(amount, { freq: 3, nil: null }),
    what: said,
    forgets: fc.boolean(),
    again: said,
  })
  .map(({ priced: { asks, change }, pause: wait, usd: total, what, forgets, again }) => {
    const inputs: (Input | Wait)[] = [
      { reserve: [{ n: 0, other: false }], looks: false },
      change,
      wait,
      ...(total === null ? [] : [{ extend: [{ n: 0, total, ttlSeconds: null }] }]),
      { commit: [{ n: 0, said: what }] },
      ...(forgets ? [wait, { forgetMs: 0 as const }] : []),
      { correct: { n: 0, said: again } },
    ]
    const steps = inputs.map((step) => (step instanceof Wait ? step : new Act(0, step)))
    return new Story({ ...mine, ask: asks, ttlSeconds: 90_000 }, steps)
  })

/** A record for the next hour, before a quota of hours is made, re-zoned or revived. */
const aheadStory = fc
  .record({ n: one, what: said, rules, removes: fc.boolean(), run: fc.boolean() })
  .map(({ n, what, rules: ofQuota, removes, run }) => {
    const asks: Request['ask'] = run ? { tier: TIER, seconds: 45 } : null
    const quota = QUOTAS.findIndex(({ resource, period }) => period === 'hour' && resource === (run ? 'e2b' : 'llm'))
    const removed = new Act(0, { remove: quota })
    const steps = [
      new Wait(null),
      ...(removes ? [removed] : []),
      new Act(0, { record: [{ n, other: false, said: what, agoMs: -240_000 }] }),
      new Act(0, { set: { n: quota, rules: ofQuota, limitOnly: false } }),
      new Wait(7 * MINUTE),
      new Act(0, { reserve: [{ n, other: false }], looks: false }),
    ]
    return new Story({ ...mine, ask: asks, ttlSeconds: 600 }, steps)
  })
const story = fc.oneof({ weight: 3, arbitrary: priceStory }, { weight: 1, arbitrary: aheadStory })

const client = fc.nat(CLIENTS - 1)
const acts = fc.tuple(client, anyInput).map(([n, input]) => new Act(n, input))
const commands = fc.commands(
  [
    ...Array.from({ length: 6 }, () => acts),
    pause.map((ms) => new Wait(ms)),
    pause.map((ms) => new Wait(ms)),
    fc
      .array(anyInput.filter(isAtOnce), { minLength: 2, maxLength: CLIENTS })
      .map((inputs) => new Meet(inputs.map(single))),
    jump.map((ms) => new Wait(ms)),
    story,
  ],
  { maxCommands: 50, size: 'max' },
)

/** A re-rating is many transactions, and a deletion skips what others have locked, so neither takes effect at one moment. */
function isAtOnce(input: Input): boolean {
  return !('rerate' in input) && !('forgetMs' in input)
}

/** Simultaneous calls have one item each: a batch's answers depend on its items, which would hide the order of the calls. */
function single(input: Input): Input {
  if ('reserve' in input) return { ...input, reserve: input.reserve.slice(0, 1) }
  if ('commit' in input) return { commit: input.commit.slice(0, 1) }
  if ('release' in input) return { release: input.release.slice(0, 1) }
  if ('record' in input) return { record: input.record.slice(0, 1) }
  return input
}

const scenario = fc.record({
  start: START,
  quotas: fc.array(fc.option(rules, { freq: 2, nil: null }), { minLength: QUOTAS.length, maxLength: QUOTAS.length }),
  requests: fc.array(request, { minLength: 12, maxLength: 12 }),
  commands,
})

t.test('random calls, in sequence and simultaneous, give the answers, costs and balances of the model', async (t) => {
  let calls = 0
  const property = fc.asyncProperty(scenario, async ({ start, quotas, requests, commands: steps }) => {
    // A database for each run, so that nothing is left of the run before.
    const closing: (() => unknown)[] = []
    const owner = { teardown: (close: () => unknown) => void closing.push(close) }
    const database = await createDatabase(t)
    try {
      const sessions = Array.from({ length: CLIENTS }, () => openSession(owner, database.url))
      const state: State = { model: new Model(Date.parse(start)), holds: [] }
      const real = { sessions, requests, estimates: new Estimates(sessions[0]!.db) }
      const first = async (todo: Operation) => {
        await perform(sessions[0]!, todo, real)
        state.model.apply(todo)
      }
      await Promise.all(sessions.map((session) => session.moveTo(start)))
      for (const [n, one] of quotas.entries()) {
        if (one === null) continue
        await first({ kind: 'set quota', name: QUOTAS[n]!, rules: one satisfies Rules })
      }
      // No reservation is deleted before this has read the cost records of early releases.
      while ((await keepLineFacts(sessions[0]!.db, 100)) > 0);
      for (const card of FIRST_CARDS) await first({ kind: 'publish', card })
      await fc.asyncModelRun(() => ({ model: state, real }), steps)
      calls += [...steps].length
      await first({ kind: 'expire' })
      equal(await balancesIn(sessions[0]!), state.model.balances(), 'balances at the end')
      const { rows } = await sessions[0]!.pool.query('select * from copilot_internal.check_integrity()')
      equal(rows, [], 'check_integrity()')
    } finally {
      for (const close of closing.toReversed()) await close()
    }
  })
  await fc.assert(property, { seed, numRuns: RUNS })
  t.comment(`${RUNS} runs, ${calls} commands, among their answers ${JSON.stringify(Object.fromEntries(tally))}`)
  for (const kind of KINDS) t.ok(tally.has(kind), `some answers were ${kind}`)
})
