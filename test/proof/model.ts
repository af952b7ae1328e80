import Big from 'big.js'
import { periodAt, type Calendar } from './calendar.ts'

export type Enforcement = 'enforce' | 'warn' | 'off'
export type Rules = { limit: string; enforcement: Enforcement } & Omit<Calendar, 'period'>

/** '' is the platform, 'a' a tenant, 'a/u' a user of it. */
export type QuotaName = { scope: string; period: string }

/** One call; amounts in USD as decimal text, times in ms. */
export type Operation =
  | { kind: 'reserve'; items: ReserveWish[]; looks: boolean }
  | { kind: 'commit'; items: { id: string; cost: string; recordId: string; reversalId: string }[] }
  | { kind: 'release'; ids: string[] }
  | { kind: 'extend'; items: ExtendWish[] }
  | { kind: 'expire' }
  | { kind: 'record'; items: RecordWish[] }
  | { kind: 'correct'; recordId: string; cost: string; reversalId: string; successorId: string }
  | { kind: 'set quota'; name: QuotaName; rules: Rules }
  | { kind: 'delete quota'; name: QuotaName }

export type ReserveWish = {
  id: string
  key: string | null
  hash: string
  tenant: string
  user: string | null
  amount: string
  /** What one of the units costs that it takes where all of them do not fit; null: all or nothing. */
  unit: string | null
  ttlSeconds: number
  charge: boolean
  /** Its price card is free; the amount is 0 then. */
  free: boolean
}
export type ExtendWish = { id: string; total: string | null; ttlSeconds: number | null }
export type RecordWish = {
  id: string
  key: string
  hash: string
  tenant: string
  user: string | null
  cost: string
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
type Hold = {
  id: string
  hash: string
  tenant: string
  user: string | null
  amount: Big
  capped: boolean
  status: 'reserved' | 'committed' | 'released' | 'expired'
  cost: string | null
  /** What its lapse was charged, and the line that says so. */
  charged: Big | null
  charge: Line | null
  charges: boolean
  free: boolean
  balances: Balance[]
  grantedAt: number
  expiresAt: number
  periodsEndAt: number
}
type Line = {
  tenant: string
  user: string | null
  usd: Big
  bookedAt: number
  recordedAt: number
  balances: Balance[]
  holdId: string | null
  reversal: boolean
  successorId: string | null
}

export const plain = (value: Big | string) => new Big(value).toFixed()
const ZERO = new Big(0)
const AHEAD_MS = 300_000

/** floor(a ÷ b) for b > 0 as whole numbers of a 10^-20th, so that nothing is rounded. */
export function exactFloor(a: Big, b: Big): number {
  if (a.lt(0)) return -1
  const whole = (value: Big) => BigInt(value.times(new Big(10).pow(20)).toFixed(0))
  return Number(whole(a) / whole(b))
}

const scopesOf = (tenant: string, user: string | null) => ['', tenant, ...(user === null ? [] : [`${tenant}/${user}`])]

/** The rules of the money, one item after the other: what each call answers, and how the balances stand afterwards. */
export class Model {
  now: number
  quotas: Quota[] = []
  holds = new Map<string, Hold>()
  keys = new Map<string, Hold>()
  lines = new Map<string, Line>()
  recordKeys = new Map<string, { id: string; hash: string; cost: string }>()

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
        return one.items.map((item) => this.#extend(item))
      case 'expire':
        return { settled: this.#expire() }
      case 'record':
        return this.#record(one.items)
      case 'correct':
        return this.#correct(one)
      case 'set quota':
        return { made: this.#setQuota(one.name, one.rules) }
      case 'delete quota':
        return { deleted: this.#deleteQuota(one.name) }
    }
  }

  quota({ scope, period }: QuotaName): Quota | undefined {
    return this.quotas.find(({ name }) => name.scope === scope && name.period === period)
  }

  /** Each balance as one line, in order. How many holds and lines there are, and count in it, tells where something of 0 USD went. */
  balances(): string[] {
    const counting = [...this.holds.values(), ...this.lines.values()].flatMap(({ balances }) => balances)
    const lines = this.quotas.flatMap(({ name, balances }) =>
      balances.map((one) => balanceLine({ ...name, ...one, named: counting.filter((other) => other === one).length })),
    )
    return [...lines.toSorted(), `${this.lines.size} lines of cost`]
  }

  /** Names the charge of a lapse, whose id Postgres makes. */
  nameCharge(id: string, recordId: string): void {
    const unnamed = `charge of ${id}`
    const charge = this.lines.get(unnamed)
    if (charge === undefined) return
    this.lines.delete(unnamed)
    this.lines.set(recordId, charge)
  }

  clone(): Model {
    return copyOf(this)
  }

  // ---- Balances

  /** The running balances of scopes, those that are missing made, and when the first of them ends. */
  #running(scopes: string[]): { balances: Balance[]; until: number } {
    const balances = this.quotas
      .filter(({ name, deleted }) => !deleted && scopes.includes(name.scope))
      .map((quota) => this.#balanceAt(quota, this.now))
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

  /** Rule 6: what was opened since, and whose scope and period contain the moment at which a cost is booked. */
  #openedSince(tenant: string, user: string | null, at: number, since: number, known: Balance[]): Balance[] {
    return this.quotas
      .filter(({ name }) => scopesOf(tenant, user).includes(name.scope))
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
   * A look refuses first what would not fit alone; what adds nothing is always looked at. A repeat in one batch shares the
   * first one's answer, also where that is a refusal.
   */
  #reserve(items: ReserveWish[], looks: boolean): unknown[] {
    for (const { tenant, user } of items) this.#running(scopesOf(tenant, user))
    const refusals = new Map<string, unknown>()
    const refused = new Map<ReserveWish, unknown>()
    const refuse = (item: ReserveWish, outcome: unknown) => {
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

  #decide(item: ReserveWish): object {
    const known = item.key === null ? undefined : this.keys.get(item.key)
    if (known !== undefined) return known.hash === item.hash ? { replayed: known.id } : { mismatch: true }
    const offer = this.#offer(item)
    if ('refused' in offer) return offer
    const { balances, until, amount, units } = offer
    const warned = item.free ? 0 : balances.filter((one) => one.enforcement === 'warn' && amount.gt(roomOf(one))).length
    for (const balance of balances) balance.reserved = balance.reserved.plus(amount)
    const made: Hold = {
      ...{ id: item.id, hash: item.hash, tenant: item.tenant, user: item.user, amount, capped: units !== null },
      ...{
        status: 'reserved',
        cost: null,
        charged: null,
        charge: null,
        charges: item.charge,
        free: item.free,
        balances,
      },
      ...{ grantedAt: this.now, expiresAt: this.now + item.ttlSeconds * 1000, periodsEndAt: until },
    }
    this.holds.set(made.id, made)
    if (item.key !== null) this.keys.set(item.key, made)
    return { granted: plain(amount), units, warned }
  }

  /** What an item would get now. */
  #offer(item: ReserveWish) {
    const { balances, until } = this.#running(scopesOf(item.tenant, item.user))
    // Rule 2: no quota refuses what is free.
    const room = item.free ? null : roomIn(balances)
    let amount = new Big(item.amount)
    let units: number | null = null
    if (room !== null && amount.gt(room) && item.unit !== null) {
      const most = exactFloor(room, new Big(item.unit))
      if (most >= 1) {
        units = most
        amount = new Big(item.unit).times(most)
      }
    }
    if (room !== null && amount.gt(room)) return refusalOf(balances, amount, room)
    return { balances, until, amount, units }
  }

  #commit({ id, cost, recordId, reversalId }: { id: string; cost: string; recordId: string; reversalId: string }) {
    const one = this.holds.get(id)
    if (one === undefined) return { unknown: true }
    if (one.status === 'committed') {
      return one.cost === cost ? { committed: plain(cost) } : { conflict: 'committed' }
    }
    const late = one.status !== 'reserved' || this.now >= Math.min(one.expiresAt, one.periodsEndAt)
    const since = late ? this.#openedSince(one.tenant, one.user, one.grantedAt, one.grantedAt, one.balances) : []
    const balances = [...one.balances, ...since]
    for (const balance of balances) balance.spent = balance.spent.plus(cost).minus(one.charged ?? 0)
    if (one.status === 'reserved') {
      for (const balance of one.balances) balance.reserved = balance.reserved.minus(one.amount)
    }
    const about = { tenant: one.tenant, user: one.user, bookedAt: one.grantedAt, holdId: id, balances }
    if (one.charge !== null) {
      one.charge.successorId = recordId
      this.#book(reversalId, { ...about, usd: ZERO.minus(one.charged!) }, true)
    }
    this.#book(recordId, { ...about, usd: new Big(cost) })
    one.status = 'committed'
    one.cost = cost
    one.charge = null
    return { committed: plain(cost), late }
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
    for (const balance of one.balances) balance.reserved = balance.reserved.minus(one.amount)
    if (one.status === 'released' || !one.charges) return
    for (const balance of one.balances) balance.spent = balance.spent.plus(one.amount)
    const { tenant, user, amount: usd, grantedAt: bookedAt, id: holdId, balances } = one
    one.charged = one.amount
    one.charge = this.#book(`charge of ${one.id}`, { tenant, user, usd, bookedAt, holdId, balances: [...balances] })
  }

  /** Rule 3. */
  #extend({ id, total, ttlSeconds }: ExtendWish): unknown {
    const one = this.holds.get(id)
    if (one === undefined) return { unknown: true }
    if (one.status !== 'reserved' || one.expiresAt <= this.now) return { closed: true }
    const amount = total !== null && one.amount.lt(total) ? new Big(total) : one.amount
    const free = one.free && amount.eq(0)
    const moves = one.periodsEndAt <= this.now
    const running = moves ? this.#running(scopesOf(one.tenant, one.user)) : null
    const balances = running?.balances ?? one.balances
    let warned = 0
    if (moves || amount.gt(one.amount)) {
      // The new total beside what others hold; a balance to which nothing is added refuses nothing.
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
    one.amount = amount
    one.free = free
    one.balances = balances
    one.periodsEndAt = running?.until ?? one.periodsEndAt
    if (ttlSeconds !== null) one.expiresAt = Math.max(one.expiresAt, this.now + ttlSeconds * 1000)
    return { extended: plain(amount), warned }
  }

  // ---- Costs without a hold

  /** Rule 4. */
  #record(items: RecordWish[]): unknown {
    const ahead = items.flatMap(({ occurredAt }, n) => (occurredAt > this.now + AHEAD_MS ? [n] : []))
    if (ahead.length > 0) return { faults: ahead }
    for (const { tenant, user } of items) this.#running(scopesOf(tenant, user))
    for (const { tenant, user, occurredAt } of items) {
      for (const quota of this.#live(tenant, user)) {
        if (quota.balances.some((one) => contains(one, occurredAt))) continue
        const { endsAt } = periodAt({ period: quota.name.period, ...quota.rules }, occurredAt)
        if (endsAt > quota.createdAt) this.#balanceAt(quota, occurredAt)
      }
    }
    const firsts = new Map<string, RecordWish>()
    for (const item of items) {
      if (!this.recordKeys.has(item.key) && !firsts.has(item.key)) firsts.set(item.key, item)
    }
    const known = ({ key }: RecordWish) => this.recordKeys.get(key) ?? firsts.get(key)!
    const faults = items.flatMap((item, n) => (known(item).hash === item.hash ? [] : [n]))
    if (faults.length > 0) return { faults }
    for (const { id, key, hash, cost, tenant, user, occurredAt } of firsts.values()) {
      const balances = this.#live(tenant, user).flatMap((quota) =>
        quota.balances.filter((one) => contains(one, occurredAt)),
      )
      for (const balance of balances) balance.spent = balance.spent.plus(cost)
      this.#book(id, { tenant, user, usd: new Big(cost), bookedAt: occurredAt, holdId: null, balances })
      this.recordKeys.set(key, { id, hash, cost })
    }
    return { records: items.map((item) => `${known(item).id} ${plain(known(item).cost)}`) }
  }

  #live(tenant: string, user: string | null): Quota[] {
    return this.quotas.filter(({ name, deleted }) => !deleted && scopesOf(tenant, user).includes(name.scope))
  }

  /** Rule 6. */
  #correct({ recordId, cost, reversalId, successorId }: Extract<Operation, { kind: 'correct' }>): unknown {
    const line = this.lines.get(recordId)
    if (line === undefined) return { unknown: true }
    if (line.reversal) return { successor: null }
    if (line.successorId !== null) return { successor: line.successorId }
    const balances = [
      ...line.balances,
      ...this.#openedSince(line.tenant, line.user, line.bookedAt, line.recordedAt, line.balances),
    ]
    for (const balance of balances) balance.spent = balance.spent.plus(cost).minus(line.usd)
    line.successorId = successorId
    this.#book(reversalId, { ...line, usd: ZERO.minus(line.usd), balances }, true)
    const successor = this.#book(successorId, { ...line, usd: new Big(cost), balances })
    const held = this.holds.get(line.holdId ?? '')
    if (held?.status === 'expired') {
      held.charged = successor.usd
      held.charge = successor
    }
    return { corrected: plain(cost) }
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
    // One that began at the same moment and has ended gives its place to the longer period of another zone.
    for (const one of quota.balances) one.closed ||= one.endsAt > this.now || one.startsAt === startsAt
    const own = ({ tenant, user }: { tenant: string; user: string | null }) =>
      scopesOf(tenant, user).includes(quota.name.scope)
    const booked = [...this.lines.values()].filter(own)
    // Following periods are opened where something is booked in them.
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

/** The least room over the enforced balances; null where none is. */
function roomIn(balances: Balance[]): Big | null {
  const rooms = balances.filter(({ enforcement }) => enforcement === 'enforce').map(roomOf)
  return rooms.reduce<Big | null>((least, one) => (least === null || one.lt(least) ? one : least), null)
}

function refusalOf(balances: Balance[], amount: Big, room: Big) {
  const violations = balances.filter((one) => one.enforcement === 'enforce' && amount.gt(roomOf(one))).length
  return { refused: { largest: plain(room.lt(0) ? ZERO : room), violations } }
}

/** A balance as text, the same for Postgres's rows and the model's. */
export function balanceLine(
  one: Record<'limit' | 'spent' | 'opening' | 'reserved', Big | string> &
    Pick<Balance, 'startsAt' | 'endsAt' | 'closed'> &
    QuotaName & { named: number },
): string {
  const at = (ms: number) => new Date(ms).toISOString().slice(0, 16)
  return (
    `${one.scope || 'platform'} ${one.period} ${at(one.startsAt)} to ${at(one.endsAt)}${one.closed ? ' closed' : ''}: ` +
    `spent ${plain(one.spent)}, opening ${plain(one.opening)}, reserved ${plain(one.reserved)}, limit ${plain(one.limit)}, ` +
    `${one.named} holds and lines`
  )
}

/** A copy that shares nothing that changes: objects that several name are one object in the copy too. */
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
  })
}
