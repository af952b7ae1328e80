// Random calls by several clients against Postgres and against a small model of the rules, over midnights, month ends and
// changes of clocks: every answer and every balance agree, to the last decimal.
import { randomUUID } from 'node:crypto'
import Big from 'big.js'
import fc from 'fast-check'
import t from 'tap'
import { uuidv7 } from 'uuidv7'
import { expireReservations } from '../../src/db/expire-reservations.ts'
import { deleteQuota, setQuotas } from '../../src/db/quotas.ts'
import { reserveSpend } from '../../src/db/reserve-spend.ts'
import { createDatabase } from '../helpers/database.ts'
import { printedSeed, sizeFrom } from '../helpers/seed.ts'
import { booking, hashOfSaid, hold, openSession, spending, type Session } from '../helpers/spend.ts'
import { balanceLine, Model, plain, type Enforcement, type Operation, type QuotaName, type Rules } from './model.ts'

const seed = printedSeed(t)
const CLIENTS = 3
const RUNS = sizeFrom('PURSER_TEST_MODEL_RUNS', 25)

const QUOTAS: QuotaName[] = [
  { scope: '', period: 'day' },
  { scope: '', period: 'month' },
  { scope: 'a', period: 'day' },
  { scope: 'a', period: 'hour' },
  { scope: 'a', period: 'week' },
  { scope: 'b', period: 'total' },
  { scope: 'a/u', period: 'month' },
  { scope: 'b/v', period: 'day' },
]

// ---- What the clients try, before it is known what there is to try it on

const usd = (digits: fc.Arbitrary<number>) =>
  fc.tuple(digits, fc.constantFrom(0, 2, 6, 12)).map(([n, scale]) => new Big(n).div(new Big(10).pow(scale)).toFixed())
const amount = usd(fc.nat(20))
const one = fc.nat(11)

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

/** Numbers stand for requests, and count holds and lines back from the last; the same request again is a repeat. */
const wish = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      reserve: fc.array(fc.record({ n: one, other: fc.boolean() }), { minLength: 1, maxLength: 6 }),
      looks: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ commit: fc.array(fc.record({ n: one, cost: amount }), { minLength: 1, maxLength: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ release: fc.array(one, { minLength: 1, maxLength: 3 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      extend: fc.array(
        // Mostly of more money.
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
          cost: amount,
          agoMs: fc.constantFrom(0, -240_000, -360_000, 60_000, 7_200_000, 90_000_000, 300_000_000),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ correct: fc.record({ n: one, cost: amount }) }) },
  {
    weight: 3,
    // Mostly the limit alone.
    arbitrary: fc.record({ set: fc.record({ n: fc.nat(QUOTAS.length - 1), rules, limitOnly: fc.boolean() }) }),
  },
  { weight: 1, arbitrary: fc.record({ remove: fc.nat(QUOTAS.length - 1) }) },
)
type Wish = Generated<typeof wish>

/** Where something is about to end or to change. */
const START = fc.constantFrom(
  '2026-10-24T22:40:00Z',
  '2026-10-25T23:50:00Z',
  '2026-11-01T03:30:00Z',
  '2026-11-30T23:30:00Z',
  '2026-12-31T18:00:00Z',
  '2027-03-27T23:30:00Z',
  '2028-02-28T23:45:00Z',
)
const MINUTE = 60_000
const pause = fc.constantFrom(1, 7, 31, 60, 300, 1_140, 1_440, 11_520).map((minutes) => minutes * MINUTE)

// ---- The two that are compared

type Real = { sessions: Session[]; requests: Request[] }
/** Replaced as a whole where the order of calls is found out afterwards. */
type State = { model: Model; holds: string[] }

function operationOf(wished: Wish, state: State, { requests }: Real): Operation {
  const { model, holds } = state
  const nobody = '00000000-0000-7000-8000-000000000000'
  const holdOf = (n: number) => holds.at(-1 - (n % (holds.length + 1))) ?? nobody
  const among = (n: number, ids: string[]) => ids.at(-1 - (n % Math.max(ids.length, 1))) ?? nobody
  if ('reserve' in wished) {
    const firsts = new Map(wished.reserve.toReversed().map(({ n, other }) => [n, other]))
    const items = wished.reserve.map(({ n }) => {
      const { keyed, ...rest } = requests[n]!
      const hash = `${n}${keyed && firsts.get(n)}`
      return { ...rest, id: uuidv7(), key: keyed ? `request ${n}` : null, hash }
    })
    holds.push(...items.map(({ id }) => id))
    return { kind: 'reserve', items, looks: wished.looks }
  }
  if ('commit' in wished) {
    const items = wished.commit.map(({ n, cost }) => {
      return { id: holdOf(n), cost, recordId: uuidv7(), reversalId: randomUUID() }
    })
    return { kind: 'commit', items }
  }
  if ('release' in wished) return { kind: 'release', ids: wished.release.map(holdOf) }
  if ('extend' in wished) {
    const open = [...model.holds.values()].filter(({ status }) => status === 'reserved').map(({ id }) => id)
    const items = wished.extend.map(({ n, total, ttlSeconds }) => {
      const id = n % 4 === 3 ? holdOf(n) : among(n, open)
      // A hold that took fewer units than asked for is not of its own estimate any more; only its time is extended here.
      const more = model.holds.get(id)?.capped === true ? null : total
      return { id, total: more, ttlSeconds: ttlSeconds ?? (more === null ? 60 : null) }
    })
    // A batch extends each once.
    return { kind: 'extend', items: [...new Map(items.map((item) => [item.id, item])).values()] }
  }
  if ('expire' in wished) return { kind: 'expire' }
  if ('record' in wished) {
    const items = wished.record.map(({ n, other, cost, agoMs }) => {
      const { tenant, user } = requests[n]!
      const about = { id: uuidv7(), tenant, user, cost, occurredAt: model.now - agoMs }
      return { ...about, key: `record ${n}`, hash: `${n} ${other}` }
    })
    return { kind: 'record', items }
  }
  if ('correct' in wished) {
    const ids = { reversalId: uuidv7(), successorId: uuidv7() }
    const recordId = among(wished.correct.n, [...model.lines.keys()])
    return { kind: 'correct', recordId, cost: wished.correct.cost, ...ids }
  }
  if ('set' in wished) {
    const name = QUOTAS[wished.set.n]!
    const known = wished.set.limitOnly ? model.quota(name)?.rules : undefined
    return { kind: 'set quota', name, rules: { ...wished.set.rules, ...known, limit: wished.set.rules.limit } }
  }
  return { kind: 'delete quota', name: QUOTAS[wished.remove]! }
}

/** Does it in Postgres, and answers in the words of the model. */
async function perform(session: Session, todo: Operation): Promise<unknown> {
  switch (todo.kind) {
    case 'reserve': {
      const decisions = await reserveSpend(
        session.db,
        todo.items.map((item) =>
          hold(item.tenant, item.amount, {
            reservation_id: item.id,
            user_id: item.user,
            idempotency_key: item.key,
            // Each time in other words.
            request_hash: hashOfSaid(item.hash, item.id),
            estimate: { estimated_cost_usd: item.amount },
            ttl_seconds: item.ttlSeconds,
            on_expiry: item.charge ? 'charge' : 'release',
            is_free: item.free,
            ...(item.unit === null ? {} : { per_unit_usd: item.unit, caps_name: 'max_output_tokens' }),
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
        ...todo.items.map(({ id, cost, recordId, reversalId }) =>
          booking(id, cost, {
            cost_record_id: recordId,
            reversal_id: reversalId,
            commit_hash: hashOfSaid(cost, recordId),
          }),
        ),
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
          total: total === null ? null : { estimate: { estimated_cost_usd: total }, amount_usd: total },
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
        ...todo.items.map((item) =>
          spending(item.tenant, item.cost, {
            cost_record_id: item.id,
            user_id: item.user,
            idempotency_key: item.key,
            request_hash: hashOfSaid(item.hash, item.id),
            occurred_at: new Date(item.occurredAt).toISOString(),
          }),
        ),
      )
      if ('day_usd' in recording) throw new Error('there is no ceiling')
      if ('faults' in recording) return { faults: recording.faults.map(({ index }) => index) }
      return { records: recording.records.map((line) => `${line.cost_record_id} ${plain(line.cost_usd)}`) }
    }
    case 'correct': {
      const { recordId, cost, reversalId, successorId } = todo
      const corrected = await session.correct(recordId, cost, { reversalId, successorId })
      return 'lines' in corrected ? { corrected: plain(cost) } : corrected
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
         where tenant_id is not distinct from $1 and user_id is not distinct from $2 and period = $3`,
        [tenant, user, period],
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

function keyOf({ scope, period }: QuotaName) {
  const [tenant, user] = scope.split('/')
  const kind = scope === '' ? 'platform' : user === undefined ? 'tenant' : 'user'
  return { scope: kind, tenant_id: scope === '' ? null : tenant!, user_id: user ?? null, period }
}

// ---- How they are compared

/** Answers that a run of the usual size has of; without them it would show little. */
const KINDS = [
  'granted',
  'refused',
  'replayed',
  'committed',
  'settled',
  'extended',
  'records',
  'corrected',
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

/** A commit that repeats one does not say again whether it was late. */
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
    select concat_ws('/', tenant_id, user_id) as scope, period, limit_usd as limit, spent, opening_usd as opening, reserved,
           closed_at is not null as closed, extract(epoch from starts_at) * 1000 as "startsAt", extract(epoch from ends_at) * 1000 as "endsAt",
           (select count(*)::integer from (
              select quota_period_ids from copilot_internal.reservations
              union all select quota_period_ids from copilot_internal.llm_cost_records) c
            where p.quota_period_id = any (c.quota_period_ids)) as named
    from copilot_internal.quota_periods p`)
  const { rows: counted } = await pool.query<{ lines: string }>(
    'select count(*) as lines from copilot_internal.llm_cost_records',
  )
  const balances = rows.map((row) =>
    balanceLine({ ...row, startsAt: Number(row.startsAt), endsAt: Number(row.endsAt) }),
  )
  return [...balances.toSorted(), `${counted[0]!.lines} lines of cost`]
}

async function nameCharges(session: Session, model: Model): Promise<void> {
  const { rows } = await session.pool.query<{ id: string; record: string }>(
    // Also of those that were committed since, at the same moment.
    `select reservation_id as id, cost_record_id as record from copilot_internal.llm_cost_records
     where estimated and corrects is null and reservation_id is not null`,
  )
  for (const { id, record } of rows) model.nameCharge(id, record)
}

function* orders<Value>(values: Value[]): Generator<Value[]> {
  if (values.length < 2) yield values
  for (const [n, value] of values.entries()) {
    if (values.length < 2) return
    for (const rest of orders(values.toSpliced(n, 1))) yield [value, ...rest]
  }
}

/** One client does one thing. */
class Act implements fc.AsyncCommand<State, Real> {
  readonly #client: number
  readonly #wish: Wish

  constructor(client: number, wished: Wish) {
    this.#client = client
    this.#wish = wished
  }

  check = () => true
  toString = () => `client ${this.#client}: ${JSON.stringify(this.#wish)}`

  async run(state: State, real: Real): Promise<void> {
    const session = real.sessions[this.#client]!
    const todo = operationOf(this.#wish, state, real)
    const answer = await perform(session, todo)
    const expected = state.model.apply(todo)
    count(answer)
    equal(lateOnce(answer, expected), expected, this.toString())
    equal(await balancesIn(session), state.model.balances(), `balances after ${this.toString()}`)
    await nameCharges(session, state.model)
  }
}

/** Several do something at once: there is an order in which one after the other answers the same and leaves the same. */
class Meet implements fc.AsyncCommand<State, Real> {
  readonly #wishes: Wish[]

  constructor(wishes: Wish[]) {
    this.#wishes = wishes
  }

  check = () => true
  toString = () => `at once: ${JSON.stringify(this.#wishes)}`

  async run(state: State, real: Real): Promise<void> {
    const todos = this.#wishes.map((wished) => operationOf(wished, state, real))
    const answers = await Promise.all(todos.map((todo, n) => perform(real.sessions[n]!, todo)))
    // A sweep leaves what others have locked to the next one, also where they leave it as it was.
    const swept = todos.some(({ kind }) => kind === 'expire')
    if (swept) await perform(real.sessions[0]!, { kind: 'expire' })
    const balances = await balancesIn(real.sessions[0]!)
    for (const order of orders([...todos.keys()])) {
      const model = state.model.clone()
      const expected = new Map(order.map((n) => [n, model.apply(todos[n]!)]))
      if (swept) model.apply({ kind: 'expire' })
      // So how many a sweep settled is not said.
      const fits = order.every((n) => todos[n]!.kind === 'expire' || agree(answers[n], expected.get(n)))
      if (!fits || JSON.stringify(balances) !== JSON.stringify(model.balances())) continue
      state.model = model
      return nameCharges(real.sessions[0]!, state.model)
    }
    throw new Error(`${this.toString()} answered ${JSON.stringify(answers)} as in no order; ${balances.join('\n')}`)
  }
}

/** Time passes for all. */
class Wait implements fc.AsyncCommand<State, Real> {
  readonly #ms: number

  constructor(ms: number) {
    this.#ms = ms
  }

  check = () => true
  toString = () => `${this.#ms / MINUTE} minutes later`

  async run({ model }: State, { sessions }: Real): Promise<void> {
    model.now += this.#ms
    await Promise.all(sessions.map((session) => session.moveTo(new Date(model.now).toISOString())))
  }
}

const client = fc.nat(CLIENTS - 1)
const acts = fc.tuple(client, wish).map(([n, wished]) => new Act(n, wished))
const commands = fc.commands(
  [
    ...Array.from({ length: 6 }, () => acts),
    pause.map((ms) => new Wait(ms)),
    pause.map((ms) => new Wait(ms)),
    fc.array(wish, { minLength: 2, maxLength: CLIENTS }).map((wishes) => new Meet(wishes.map(single))),
  ],
  { maxCommands: 60, size: 'max' },
)

/** At once only one item a call: a batch's answers say how its items stood to each other, not in which order it came. */
function single(wished: Wish): Wish {
  if ('reserve' in wished) return { ...wished, reserve: wished.reserve.slice(0, 1) }
  if ('commit' in wished) return { commit: wished.commit.slice(0, 1) }
  if ('release' in wished) return { release: wished.release.slice(0, 1) }
  if ('record' in wished) return { record: wished.record.slice(0, 1) }
  return wished
}

const scenario = fc.record({
  start: START,
  quotas: fc.array(fc.option(rules, { freq: 2, nil: null }), { minLength: QUOTAS.length, maxLength: QUOTAS.length }),
  requests: fc.array(request, { minLength: 12, maxLength: 12 }),
  commands,
})

t.test('random calls of several clients answer, book and balance as the rules say, one after the other', async (t) => {
  let calls = 0
  const property = fc.asyncProperty(scenario, async ({ start, quotas, requests, commands: steps }) => {
    // A database of its own for each run, so that nothing is left of the one before.
    const closing: (() => unknown)[] = []
    const owner = { teardown: (close: () => unknown) => void closing.push(close) }
    const database = await createDatabase(t)
    try {
      const sessions = Array.from({ length: CLIENTS }, () => openSession(owner, database.url))
      const state: State = { model: new Model(Date.parse(start)), holds: [] }
      await Promise.all(sessions.map((session) => session.moveTo(start)))
      for (const [n, one] of quotas.entries()) {
        if (one === null) continue
        const todo: Operation = { kind: 'set quota', name: QUOTAS[n]!, rules: one satisfies Rules }
        await perform(sessions[0]!, todo)
        state.model.apply(todo)
      }
      await fc.asyncModelRun(() => ({ model: state, real: { sessions, requests } }), steps)
      calls += [...steps].length
      await perform(sessions[0]!, { kind: 'expire' })
      state.model.apply({ kind: 'expire' })
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
