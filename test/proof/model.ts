import Big from 'big.js'
import { periodAt, type Calendar } from './calendar.ts'
import { costOfSeconds, costOfTokens, emptyBook, meantBy, publish, type NewCard, type Tokens } from './prices.ts'

export type Enforcement = 'enforce' | 'warn' | 'off'
export type Rules = { limit: string; enforcement: Enforcement } & Omit<Calendar, 'period'>

export type Resource = 'llm' | 'e2b'
/** '' is the platform, 'a' a tenant, 'a/u' a user of it. */
export type QuotaName = { resource: Resource; scope: string; period: string }
/** The tenant and user of a cost, and its resource type. */
type Spender = { resource: Resource; tenant: string; user: string | null }

/** How a cost is reported; `name` is the model that answered, or null if not reported. */
export type Measure = { cost: string } | { tokens: Tokens; name: string | null } | { seconds: string }
/** The model or tier of a hold or cost record, as its price needs it; null if unknown. */
export type About = { name: string | null; pricedModel: string | null; tier: string | null }

/** One call; amounts in USD as decimal text, times in ms. */
export type Operation =
  | { kind: 'reserve'; items: ReserveInput[]; looks: boolean }
  | { kind: 'commit'; items: CommitInput[] }
  | { kind: 'release'; ids: string[] }
  /** `found`: holds that are settled by now, but were open when the extension made the current periods for them. */
  | { kind: 'extend'; items: ExtendInput[]; found?: string[] }
  | { kind: 'expire' }
  | { kind: 'record'; items: RecordInput[] }
  | ({ kind: 'correct' } & CorrectInput)
  | { kind: 'rerate' }
  | { kind: 'publish'; card: NewCard }
  /** Deletes settled reservations and record keys from before a moment. */
  | { kind: 'forget'; before: number }
  | { kind: 'set quota'; name: QuotaName; rules: Rules }
  | { kind: 'delete quota'; name: QuotaName }

export type ReserveInput = {
  id: string
  key: string | null
  hash: string
  resource: Resource
  tenant: string
  user: string | null
  about: About
  /** The requested units: tokens, seconds or USD. */
  asked: string
  /** The input tokens. */
  input: number
  amount: string
  /** USD on top of the units. */
  fixed: string
  /** USD for each unit of a smaller grant; null if the request does not allow one. */
  unit: string | null
  ttlSeconds: number
  /** A smaller grant of n units lasts n seconds and this many more; null: it lasts ttlSeconds. */
  ttlBeyondUnits: number | null
  charge: boolean
  /** Whether its rate card is free; then the amount is 0. */
  free: boolean
}
export type CommitInput = { id: string; measure: Measure; recordId: string; reversalId: string }
type CorrectInput = { recordId: string; measure: Measure; reversalId: string; successorId: string }
/** A new total in the requested units, and its cost. */
export type Total = { asked: string; amount: string; estimate: Record<string, number | string> }
export type ExtendInput = { id: string; total: Total | null; ttlSeconds: number | null }
export type RecordInput = {
  id: string
  key: string
  hash: string
  resource: Resource
  tenant: string
  user: string | null
  measure: Measure
  tier: string | null
  occurredAt: number
}

type Balance = {
  startsAt: number
  endsAt: number
  openedAt: number
  closed: boolean
  limit: Big
  enforcement: Enforcement
  spent: Big
  opening: Big
  reserved: Big
}
type Quota = { name: QuotaName; rules: Rules; createdAt: number; deleted: boolean; balances: Balance[] }
type Hold = Spender & {
  id: string
  hash: string
  about: About
  createdAt: number
  asked: string
  input: number
  amount: Big
  capped: boolean
  status: 'reserved' | 'committed' | 'released' | 'expired'
  settledAt: number | null
  /** The measure of the commit, and its cost. */
  measure: string | null
  cost: Big | null
  /** The charge of its lapse, and the cost record of it. */
  charged: Big | null
  charge: Line | null
  charges: boolean
  free: boolean
  balances: Balance[]
  grantedAt: number
  expiresAt: number
  periodsEndAt: number
}
type Line = Spender & {
  about: About
  usd: Big
  /** The usage that was priced; null if the cost was given, or a lapse was charged. */
  usage: Exclude<Measure, { cost: string }> | null
  estimate: 'lapse' | 'unpriced' | null
  bookedAt: number
  pricedAt: number
  recordedAt: number
  balances: Balance[]
  holdId: string | null
  reversal: boolean
  successorId: string | null
}

type Priced = Pick<Line, 'about' | 'usage'> & { usd: Big | null }

export const plain = (value: Big | string) => new Big(value).toFixed()
const ZERO = new Big(0)
const roundUsd = (usd: Big) => usd.round(12, Big.roundHalfUp)
const AHEAD_MS = 300_000

/** floor(a ÷ b) for b > 0, with both as whole multiples of 1e-20, so that nothing is rounded. */
export function exactFloor(a: Big, b: Big): number {
  if (a.lt(0)) return -1
  const whole = (value: Big) => BigInt(value.times(new Big(10).pow(20)).toFixed(0))
  return Number(whole(a) / whole(b))
}

const counts = ({ name }: Quota, { resource, tenant, user }: Spender) =>
  name.resource === resource && ['', tenant, `${tenant}/${user}`].includes(name.scope)

/** The rules of the money, applied one item at a time: the answer of each call, and the balances after it. */
export class Model {
  now: number
  quotas: Quota[] = []
  holds = new Map<string, Hold>()
  keys = new Map<string, Hold>()
  lines = new Map<string, Line>()
  recordKeys = new Map<string, { id: string; hash: string; cost: Big; recordedAt: number }>()
  book = emptyBook()

  constructor(now: number) {
    this.now = now
  }

  apply(one: Operation): unknown {
    switch (one.kind) {
      case 'reserve':
        return this.#reserve(one.items, one.looks)
      case 'commit':
        return one.items.map((item) => this.#commit(item))
      case 'release':
        return one.ids.map((id) => this.#release(id))
      case 'extend':
        return one.items.map((item) => this.#extend(item, one.found ?? []))
      case 'expire':
        return { settled: this.#expire() }
      case 'record':
        return this.#record(one.items)
      case 'correct':
        return this.#correct(one)
      case 'rerate':
        return this.#rerate()
      case 'publish':
        return { published: publish(this.book, one.card, this.now) }
      case 'forget':
        return { forgotten: this.#forget(one.before) }
      case 'set quota':
        return { made: this.#setQuota(one.name, one.rules) }
      case 'delete quota':
        return { deleted: this.#deleteQuota(one.name) }
    }
  }

  quota({ resource, scope, period }: QuotaName): Quota | undefined {
    return this.quotas.find(({ name }) => name.resource === resource && name.scope === scope && name.period === period)
  }

  /**
   * Each balance and each cost record as text, sorted. A balance contains its number of holds and cost records, so that
   * those of 0 USD are compared too.
   */
  balances(): string[] {
    const counting = [...this.holds.values(), ...this.lines.values()].flatMap(({ balances }) => balances)
    const balances = this.quotas.flatMap(({ name, balances }) =>
      balances.map((one) => balanceLine({ ...name, ...one, named: counting.filter((other) => other === one).length })),
    )
    const lines = [...this.lines.values()].map((line) => costLine({ ...line, ...line.about }))
    return [...balances.toSorted(), ...lines.toSorted()]
  }

  /** Names a cost record whose id the service makes: the charge of a lapse, or a record of a re-rating. */
  nameLine(unnamed: string, recordId: string): void {
    const line = this.lines.get(unnamed)
    if (line === undefined) return
    this.lines.delete(unnamed)
    this.lines.set(recordId, line)
    for (const one of this.lines.values()) if (one.successorId === unnamed) one.successorId = recordId
  }

  /** The open holds that an extension would move to the current periods. */
  moving(): string[] {
    return [...this.holds.values()]
      .filter(
        ({ status, expiresAt, periodsEndAt }) =>
          status === 'reserved' && periodsEndAt <= this.now && this.now < expiresAt,
      )
      .map(({ id }) => id)
  }

  hasUnnamed(): boolean {
    return [...this.lines.keys()].some((id) => id.includes(' of '))
  }

  clone(): Model {
    return copyOf(this)
  }

  // ---- Balances

  /** The current balances that count the costs of a spender (made if missing), and when the first of them ends. */
  #running(spender: Spender): { balances: Balance[]; until: number } {
    const balances = this.#live(spender).map((quota) => this.#balanceAt(quota, this.now))
    return { balances, until: Math.min(Infinity, ...balances.map(({ endsAt }) => endsAt)) }
  }

  #balanceAt(quota: Quota, at: number): Balance {
    const { startsAt, endsAt } = periodAt({ period: quota.name.period, ...quota.rules }, at)
    const known = quota.balances.find((one) => !one.closed && one.startsAt === startsAt)
    if (known !== undefined) return known
    const { limit, enforcement } = quota.rules
    const made: Balance = {
      ...{ startsAt, endsAt, enforcement, limit: new Big(limit), openedAt: this.now, closed: false },
      ...{ spent: ZERO, opening: ZERO, reserved: ZERO },
    }
    quota.balances.push(made)
    return made
  }

  /** Rule 6: balances opened since, whose scope and period contain a cost that is booked at `at`. */
  #openedSince(spender: Spender, at: number, since: number, known: Balance[]): Balance[] {
    return this.quotas
      .filter((quota) => counts(quota, spender))
      .flatMap(({ balances }) => balances)
      .filter((one) => !one.closed && one.startsAt <= at && at < one.endsAt && one.openedAt < one.endsAt)
      .filter((one) => one.openedAt >= since)
      .filter((one) => !known.includes(one))
  }

  #book(id: string, line: Omit<Line, 'reversal' | 'successorId' | 'recordedAt'>, reversal = false): Line {
    const made = { ...line, recordedAt: this.now, reversal, successorId: null }
    this.lines.set(id, made)
    return made
  }

  // ---- Holds

  /**
   * If `looks`, a check first refuses the items that would not fit alone; items of 0 USD always cause this check. A repeat
   * in one batch gets the answer of the first item, even if it is a refusal.
   */
  #reserve(items: ReserveInput[], looks: boolean): unknown[] {
    for (const item of items) this.#running(item)
    const refusals = new Map<string, unknown>()
    const refused = new Map<ReserveInput, unknown>()
    const refuse = (item: ReserveInput, outcome: unknown) => {
      refused.set(item, outcome)
      if (item.key !== null) refusals.set(item.key, outcome)
    }
    if (looks || items.some(({ amount }) => new Big(amount).eq(0))) {
      for (const item of items) {
        if (item.key !== null && (this.keys.has(item.key) || items.find(({ key }) => key === item.key) !== item))
          continue
        const outcome = this.#offer(item)
        if ('refused' in outcome) refuse(item, outcome)
      }
    }
    return items.map((item) => {
      const known = refused.get(item) ?? refusals.get(item.key ?? '')
      if (known !== undefined) return known
      const outcome = this.#decide(item)
      if ('refused' in outcome) refuse(item, outcome)
      return outcome
    })
  }

  #decide(item: ReserveInput): object {
    const known = item.key === null ? undefined : this.keys.get(item.key)
    if (known !== undefined) return known.hash === item.hash ? { replayed: known.id } : { mismatch: true }
    const offer = this.#offer(item)
    if ('refused' in offer) return offer
    const { balances, until, amount, units } = offer
    const ttlSeconds = units === null || item.ttlBeyondUnits === null ? item.ttlSeconds : units + item.ttlBeyondUnits
    const warned = item.free ? 0 : balances.filter((one) => one.enforcement === 'warn' && amount.gt(roomOf(one))).length
    for (const balance of balances) balance.reserved = balance.reserved.plus(amount)
    const made: Hold = {
      ...{
        id: item.id,
        hash: item.hash,
        about: item.about,
        asked: item.asked,
        input: item.input,
        amount,
        capped: units !== null,
      },
      ...{ resource: item.resource, tenant: item.tenant, user: item.user },
      ...{
        status: 'reserved',
        settledAt: null,
        measure: null,
        cost: null,
        charged: null,
        charge: null,
        charges: item.charge,
        free: item.free,
        balances,
      },
      ...{ createdAt: this.now, grantedAt: this.now, expiresAt: this.now + ttlSeconds * 1000, periodsEndAt: until },
    }
    this.holds.set(made.id, made)
    if (item.key !== null) this.keys.set(item.key, made)
    return { granted: plain(amount), units, warned }
  }

  /** The answer that an item would get now. */
  #offer(item: ReserveInput) {
    const { balances, until } = this.#running(item)
    // Rule 2: no quota refuses a free request.
    const room = item.free ? null : roomIn(balances)
    let amount = new Big(item.amount)
    let units: number | null = null
    if (room !== null && amount.gt(room) && item.unit !== null) {
      const upTo = (most: number) => roundUsd(new Big(item.unit!).times(most).plus(item.fixed))
      const fit = exactFloor(room.minus(item.fixed), new Big(item.unit))
      // Rounding up may lift the cost above the room.
      const most = upTo(fit).gt(room) ? fit - 1 : fit
      if (most >= 1) {
        units = most
        amount = upTo(most)
      }
    }
    if (room !== null && amount.gt(room)) return refusalOf(balances, amount, room)
    return { balances, until, amount, units }
  }

  #commit({ id, measure, recordId, reversalId }: CommitInput) {
    const one = this.holds.get(id)
    if (one === undefined) return { unknown: true }
    if (one.status === 'committed') {
      return one.measure === JSON.stringify(measure) ? { committed: plain(one.cost!) } : { conflict: 'committed' }
    }
    // Rule 9; without a price, rule 10.
    const priced = this.#price(measure, one.about, one.createdAt)
    const cost = priced.usd ?? one.amount
    const late = one.status !== 'reserved' || this.now >= Math.min(one.expiresAt, one.periodsEndAt)
    const since = late ? this.#openedSince(one, one.grantedAt, one.grantedAt, one.balances) : []
    const balances = [...one.balances, ...since]
    for (const balance of balances) balance.spent = balance.spent.plus(cost).minus(one.charged ?? 0)
    if (one.status === 'reserved') {
      for (const balance of one.balances) balance.reserved = balance.reserved.minus(one.amount)
    }
    if (one.charge !== null) {
      one.charge.successorId = recordId
      this.#book(reversalId, { ...one.charge, usd: ZERO.minus(one.charged!), balances }, true)
    }
    const estimate = priced.usd === null ? 'unpriced' : null
    this.#book(recordId, { ...this.#lineOf(one), ...priced, usd: cost, estimate, balances })
    one.status = 'committed'
    one.settledAt = this.now
    one.measure = JSON.stringify(measure)
    one.cost = cost
    one.charge = null
    return { committed: plain(cost), late }
  }

  #lineOf({ id, resource, tenant, user, about, grantedAt, createdAt }: Hold) {
    return { holdId: id, resource, tenant, user, about, bookedAt: grantedAt, pricedAt: createdAt }
  }

  /**
   * The cost of a measure by the prices known now for a moment; null without a price. The priced model stays the same,
   * unless another model answered.
   */
  #price(measure: Measure, about: About, at: number): Priced {
    if ('cost' in measure) return { usd: new Big(measure.cost), about, usage: null }
    if ('seconds' in measure) {
      return { usd: costOfSeconds(this.book, about.tier!, at, measure.seconds), about, usage: measure }
    }
    const name = measure.name ?? about.name
    const kept = name === about.name ? about.pricedModel : null
    const model = kept ?? (name === null ? null : meantBy(this.book, name, at))
    const usd = model === null ? null : costOfTokens(this.book, model, at, measure.tokens)
    return { usd, about: { ...about, name, pricedModel: usd === null ? kept : model }, usage: measure }
  }

  #release(id: string): unknown {
    const one = this.holds.get(id)
    if (one === undefined) return { unknown: true }
    if (one.status === 'committed') return { conflict: 'committed' }
    if (one.status === 'reserved') this.#settle(one)
    return { settled: one.status }
  }

  #expire(): number {
    const lapsed = [...this.holds.values()].filter((one) => one.status === 'reserved' && one.expiresAt <= this.now)
    for (const one of lapsed) this.#settle(one)
    return lapsed.length
  }

  /** Rule 5. */
  #settle(one: Hold): void {
    one.status = one.expiresAt <= this.now ? 'expired' : 'released'
    one.settledAt = this.now
    for (const balance of one.balances) balance.reserved = balance.reserved.minus(one.amount)
    if (one.status === 'released' || !one.charges) return
    for (const balance of one.balances) balance.spent = balance.spent.plus(one.amount)
    one.charged = one.amount
    const charge = { usage: null, usd: one.amount, estimate: 'lapse' as const, balances: [...one.balances] }
    one.charge = this.#book(`charge of ${one.id}`, { ...this.#lineOf(one), ...charge })
  }

  /** Rule 3. */
  #extend({ id, total, ttlSeconds }: ExtendInput, found: string[]): unknown {
    const one = this.holds.get(id)
    if (one === undefined) return { unknown: true }
    if (one.status !== 'reserved' || one.expiresAt <= this.now) {
      if (found.includes(id)) this.#running(one)
      return { closed: true }
    }
    const more = total !== null && new Big(total.asked).gt(one.asked) ? total : null
    const amount = more !== null && one.amount.lt(more.amount) ? new Big(more.amount) : one.amount
    const free = one.free && amount.eq(0)
    const moves = one.periodsEndAt <= this.now
    const running = moves ? this.#running(one) : null
    const balances = running?.balances ?? one.balances
    let warned = 0
    if (moves || amount.gt(one.amount)) {
      // The new total must fit beside the other holds; a balance to which nothing is added does not refuse.
      const judged = balances
        .filter((balance) => !free && !balance.closed)
        .filter((balance) => !(one.balances.includes(balance) && amount.eq(one.amount)))
        .map((balance) => ({
          ...balance,
          reserved: balance.reserved.minus(one.balances.includes(balance) ? one.amount : 0),
        }))
      const room = roomIn(judged)
      if (room !== null && amount.gt(room)) return refusalOf(judged, amount, room)
      warned = judged.filter((balance) => balance.enforcement === 'warn' && amount.gt(roomOf(balance))).length
      one.grantedAt = this.now
    }
    for (const balance of one.balances) balance.reserved = balance.reserved.minus(one.amount)
    for (const balance of balances) balance.reserved = balance.reserved.plus(amount)
    one.asked = more?.asked ?? one.asked
    one.amount = amount
    one.free = free
    one.balances = balances
    one.periodsEndAt = running?.until ?? one.periodsEndAt
    if (ttlSeconds !== null) one.expiresAt = Math.max(one.expiresAt, this.now + ttlSeconds * 1000)
    return { extended: plain(amount), warned }
  }

  // ---- Costs without a hold

  /** Rule 4. */
  #record(items: RecordInput[]): unknown {
    const ahead = items.flatMap(({ occurredAt }, n) => (occurredAt > this.now + AHEAD_MS ? [n] : []))
    if (ahead.length > 0) return { faults: ahead }
    for (const item of items) this.#running(item)
    for (const item of items) {
      for (const quota of this.#live(item)) {
        if (quota.balances.some((one) => contains(one, item.occurredAt))) continue
        const { endsAt } = periodAt({ period: quota.name.period, ...quota.rules }, item.occurredAt)
        if (endsAt > quota.createdAt) this.#balanceAt(quota, item.occurredAt)
      }
    }
    const firsts = new Map<string, RecordInput & Priced>()
    for (const item of items) {
      if (this.recordKeys.has(item.key) || firsts.has(item.key)) continue
      const about = { name: null, pricedModel: null, tier: item.tier }
      firsts.set(item.key, { ...item, ...this.#price(item.measure, about, item.occurredAt) })
    }
    const faults = items.flatMap((item, n) => {
      const first = firsts.get(item.key)
      const isUnpriced = first?.id === item.id && first.usd === null
      return isUnpriced || (this.recordKeys.get(item.key) ?? first!).hash !== item.hash ? [n] : []
    })
    if (faults.length > 0) return { faults }
    for (const [key, { id, hash, resource, tenant, user, occurredAt, about, usage, usd }] of firsts) {
      const spender = { resource, tenant, user }
      const balances = this.#live(spender).flatMap((quota) => quota.balances.filter((one) => contains(one, occurredAt)))
      for (const balance of balances) balance.spent = balance.spent.plus(usd!)
      const moments = { bookedAt: occurredAt, pricedAt: occurredAt }
      this.#book(id, { ...spender, ...moments, about, usage, usd: usd!, estimate: null, holdId: null, balances })
      this.recordKeys.set(key, { id, hash, cost: usd!, recordedAt: this.now })
    }
    const known = ({ key }: RecordInput) => this.recordKeys.get(key)!
    return { records: items.map((item) => `${known(item).id} ${plain(known(item).cost)}`) }
  }

  #live(spender: Spender): Quota[] {
    return this.quotas.filter((quota) => !quota.deleted && counts(quota, spender))
  }

  /** Rule 6. */
  #correct({ recordId, measure, reversalId, successorId }: CorrectInput): unknown {
    const line = this.lines.get(recordId)
    if (line === undefined) return { unknown: true }
    if (line.reversal) return { successor: null }
    const { usd, about, usage } = this.#price(measure, line.about, line.pricedAt)
    if (usd === null) return { unpriced: true }
    if (line.successorId !== null) return { successor: line.successorId }
    const balances = [...line.balances, ...this.#openedSince(line, line.bookedAt, line.recordedAt, line.balances)]
    for (const balance of balances) balance.spent = balance.spent.plus(usd).minus(line.usd)
    line.successorId = successorId
    this.#book(reversalId, { ...line, usd: ZERO.minus(line.usd), balances }, true)
    const successor = this.#book(successorId, { ...line, usd, about, usage, estimate: null, balances })
    const held = this.holds.get(line.holdId ?? '')
    if (held?.status === 'expired') {
      held.charged = successor.usd
      held.charge = successor
    }
    return { corrected: plain(usd) }
  }

  /** Corrects cost records that were priced by usage or had no price, with the prices known now. */
  #rerate(): unknown {
    let [changes, unpriced, difference] = [0, 0, ZERO]
    for (const [recordId, line] of [...this.lines]) {
      if (line.reversal || line.successorId !== null || line.usage === null || line.recordedAt > this.now) continue
      const { usd } = this.#price(line.usage, line.about, line.pricedAt)
      if (usd === null) unpriced += 1
      else if (line.estimate === 'unpriced' || !usd.eq(line.usd)) {
        changes += 1
        difference = difference.plus(usd).minus(line.usd)
        const ids = { reversalId: `reversal of ${recordId}`, successorId: `successor of ${recordId}` }
        this.#correct({ recordId, measure: line.usage, ...ids })
      }
    }
    return { rerated: changes, overtaken: 0, unpriced, undecided: 0, difference: plain(difference) }
  }

  #forget(before: number): number {
    const holds = [...this.holds.values()].filter(({ settledAt }) => settledAt !== null && settledAt < before)
    for (const one of holds) this.holds.delete(one.id)
    for (const [key, { id }] of this.keys) if (!this.holds.has(id)) this.keys.delete(key)
    const records = [...this.recordKeys].filter(([, { recordedAt }]) => recordedAt < before)
    for (const [key] of records) this.recordKeys.delete(key)
    return holds.length + records.length
  }

  // ---- Quotas

  /** Rules 7 and 8. */
  #setQuota(name: QuotaName, rules: Rules): boolean {
    const old = this.quota(name)
    const made = old === undefined || old.deleted
    const quota = old ?? { name, rules, createdAt: this.now, deleted: false, balances: [] }
    if (old === undefined) this.quotas.push(quota)
    const moved =
      quota.rules.timeZone !== rules.timeZone ||
      quota.rules.weekStartsOn !== rules.weekStartsOn ||
      quota.rules.billingDay !== rules.billingDay
    if (made) quota.createdAt = this.now
    quota.rules = rules
    quota.deleted = false
    if (made || moved) this.#open(quota)
    else {
      for (const balance of quota.balances.filter((one) => !one.closed && one.endsAt > this.now)) {
        balance.limit = new Big(rules.limit)
        balance.enforcement = rules.enforcement
      }
    }
    return made
  }

  #open(quota: Quota): void {
    const { startsAt } = periodAt({ period: quota.name.period, ...quota.rules }, this.now)
    // An ended period is closed if the new zone's longer period began at the same moment.
    for (const one of quota.balances) one.closed ||= one.endsAt > this.now || one.startsAt === startsAt
    const own = (spender: Spender) => counts(quota, spender)
    const booked = [...this.lines.values()].filter(own)
    // Later periods are opened if costs are booked in them.
    const ahead = booked.map(({ bookedAt }) => bookedAt).filter((at) => at > this.now)
    const opened = new Set([this.now, ...ahead].map((at) => this.#balanceAt(quota, at)))
    for (const one of opened) {
      one.opening = booked.filter((line) => contains(one, line.bookedAt)).reduce((sum, { usd }) => sum.plus(usd), ZERO)
      one.spent = one.opening
    }
    const balance = this.#balanceAt(quota, this.now)
    for (const one of this.holds.values()) {
      if (one.status !== 'reserved' || !own(one)) continue
      one.balances = [...one.balances, balance]
      one.periodsEndAt = Math.min(one.periodsEndAt, balance.endsAt)
      balance.reserved = balance.reserved.plus(one.amount)
    }
  }

  #deleteQuota(name: QuotaName): boolean {
    const quota = this.quota(name)
    if (quota === undefined || quota.deleted) return false
    quota.deleted = true
    for (const one of quota.balances) one.closed ||= one.endsAt > this.now
    return true
  }
}

const contains = (one: Balance, at: number) => !one.closed && one.startsAt <= at && at < one.endsAt
const roomOf = ({ limit, spent, reserved }: Balance) => limit.minus(spent).minus(reserved)

/** The smallest room of the enforced balances; null if none is enforced. */
function roomIn(balances: Balance[]): Big | null {
  const rooms = balances.filter(({ enforcement }) => enforcement === 'enforce').map(roomOf)
  return rooms.reduce<Big | null>((least, one) => (least === null || one.lt(least) ? one : least), null)
}

function refusalOf(balances: Balance[], amount: Big, room: Big) {
  const violations = balances.filter((one) => one.enforcement === 'enforce' && amount.gt(roomOf(one))).length
  return { refused: { largest: plain(room.lt(0) ? ZERO : room), violations } }
}

/** A balance as text, in the same form for rows of Postgres and of the model. */
export function balanceLine(
  one: Record<'limit' | 'spent' | 'opening' | 'reserved', Big | string> &
    Pick<Balance, 'startsAt' | 'endsAt' | 'closed'> &
    QuotaName & { named: number },
): string {
  const at = (ms: number) => new Date(ms).toISOString().slice(0, 16)
  return (
    `${one.resource} ${one.scope || 'platform'} ${one.period} ${at(one.startsAt)} to ${at(one.endsAt)}${one.closed ? ' closed' : ''}: ` +
    `spent ${plain(one.spent)}, opening ${plain(one.opening)}, reserved ${plain(one.reserved)}, limit ${plain(one.limit)}, ` +
    `${one.named} holds and lines`
  )
}

/** A cost record as text, in the same form for both. */
export function costLine(
  one: Spender & Pick<About, 'pricedModel'> & Pick<Line, 'estimate' | 'bookedAt' | 'pricedAt'> & { usd: Big | string },
): string {
  const at = (ms: number) => new Date(ms).toISOString()
  return (
    `${one.resource} ${one.tenant}/${one.user ?? ''}: ${plain(one.usd)} booked ${at(one.bookedAt)}, priced ${at(one.pricedAt)}` +
    `${one.pricedModel === null ? '' : ` by ${one.pricedModel}`}${one.estimate === null ? '' : `, ${one.estimate}`}`
  )
}

/** A deep copy: an object that is referred to several times is one object in the copy too. */
function copyOf(model: Model): Model {
  const copies = new Map<object, object>()
  const copy = <Value>(value: Value): Value => {
    if (typeof value !== 'object' || value === null || value instanceof Big) return value
    const known = copies.get(value)
    if (known !== undefined) return known as Value
    if (value instanceof Map) {
      const made = new Map<unknown, unknown>()
      copies.set(value, made)
      for (const [key, one] of value) made.set(key, copy(one as unknown))
      return made as Value
    }
    const made = (Array.isArray(value) ? [] : {}) as Record<string, unknown>
    copies.set(value, made)
    for (const [key, one] of Object.entries(value)) made[key] = copy(one as unknown)
    return made as Value
  }
  const made = new Model(model.now)
  return Object.assign(made, {
    quotas: copy(model.quotas),
    holds: copy(model.holds),
    keys: copy(model.keys),
    lines: copy(model.lines),
    recordKeys: copy(model.recordKeys),
    book: copy(model.book),
  })
}
