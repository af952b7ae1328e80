/**
 * Checks a history of simultaneous requests. Each took effect at an unknown moment between its request and its answer, so
 * the used amount of a quota at any moment is between two bounds. Amounts are whole numbers of the smallest unit, times are
 * of one clock.
 */

/** The times of a request and its answer, between which the request took effect. */
type Span = { sent: number; answered: number }

export type Balance = { quotaId: number; usedAmount: number }

export type Reserve = Span & {
  key: string | null
  body: string
  scopes: string[]
  amount: number
} & (
    | { status: 'granted' | 'replayed'; id: string; balances: Balance[] }
    | { status: 'refused'; balances: Balance[] }
    | { status: 'mismatch' }
  )

export type Settle = Span & { id: string } & (
    | { kind: 'commit'; cost: number; status: 'committed'; recordId: string }
    | { kind: 'commit'; cost: number; status: 'conflict' }
    | { kind: 'release'; status: 'released' }
    /** The service does not know the reservation any more. */
    | { kind: 'commit' | 'release'; status: 'gone' }
  )

export type Quota = { quotaId: number; scope: string; limit: number }

/** `deleted`: the reservations that were deleted meanwhile, together with their keys. */
export type History = { quotas: Quota[]; reserves: Reserve[]; settles: Settle[]; deleted: Set<string> }

/** What happened to one reservation, according to the answers. */
type Hold = {
  scopes: string[]
  amount: number
  /** When the first request that can have made it was sent, and when the first answer named it. */
  begun: number
  known: number
  /** The same for its settlement; after it, the used amount is its cost. */
  settleBegun: number
  settleKnown: number
  cost: number
}

/** Everything in a history that is impossible; empty if the history is possible. */
export function impossibilities(history: History): string[] {
  const found: string[] = []
  const holds = holdsOf(history, found)
  const bounds = new Map(history.quotas.map((quota) => [quota.quotaId, boundsOf(quota, [...holds.values()])]))
  for (const quota of history.quotas) {
    const { least } = bounds.get(quota.quotaId)!
    for (const { at, value } of least.steps) {
      if (value > quota.limit) found.push(`${quota.scope} held at least ${value} of ${quota.limit} at ${at}`)
    }
  }
  for (const reserve of history.reserves) {
    if (reserve.status === 'mismatch') continue
    const what = `${reserve.status} ${reserve.key ?? 'without a key'} of ${reserve.amount} for ${reserve.scopes.at(-1)}`
    for (const { quotaId, usedAmount } of reserve.balances) {
      const quota = history.quotas.find((one) => one.quotaId === quotaId)!
      if (reserve.status === 'refused' && usedAmount + reserve.amount <= quota.limit)
        found.push(`${what}: ${quota.scope} had room, ${usedAmount} of ${quota.limit} used`)
      if (!stoodAt(bounds.get(quotaId)!, usedAmount, reserve))
        found.push(`${what}: ${quota.scope} never held ${usedAmount} between ${reserve.sent} and ${reserve.answered}`)
    }
    if (reserve.status === 'refused' && reserve.balances.length === 0) found.push(`${what}: no quota was named`)
  }
  return found
}

function holdsOf({ reserves, settles, deleted }: History, found: string[]): Map<string, Hold> {
  const holds = new Map<string, Hold>()
  const ofKey = new Map<string, string>()
  const granted = new Set<string>()
  for (const one of reserves) {
    if (one.status !== 'granted' && one.status !== 'replayed') continue
    const { id, key, amount, scopes } = one
    if (one.status === 'granted') {
      if (granted.has(id)) found.push(`${id} was granted twice`)
      granted.add(id)
    }
    // A key is free again once its reservation is deleted.
    if (key !== null && !deleted.has(id)) {
      if ((ofKey.get(key) ?? id) !== id) found.push(`the key ${key} has two effects, ${ofKey.get(key)} and ${id}`)
      ofKey.set(key, id)
    }
    const hold = holds.get(id)
    if (hold === undefined) {
      const never = { settleBegun: Infinity, settleKnown: Infinity, cost: 0 }
      holds.set(id, { scopes, amount, begun: one.sent, known: one.answered, ...never })
    } else {
      hold.known = Math.min(hold.known, one.answered)
      // Any request answered with this hold can have made it, even if its own answer is that of a repeat.
      hold.begun = Math.min(hold.begun, one.sent)
    }
  }
  const records = new Map<string, string>()
  for (const one of settles) {
    const hold = holds.get(one.id)
    if (hold === undefined) {
      found.push(`${one.id} was settled and never granted`)
      continue
    }
    if (one.status === 'gone') {
      if (!deleted.has(one.id)) found.push(`${one.id} was gone and never deleted`)
      continue
    }
    hold.settleBegun = Math.min(hold.settleBegun, one.sent)
    if (one.status === 'conflict') continue
    hold.settleKnown = Math.min(hold.settleKnown, one.answered)
    if (one.kind === 'release') continue
    const booked = `${one.recordId} of ${one.cost}`
    if ((records.get(one.id) ?? booked) !== booked) found.push(`${one.id} was booked twice, ${booked} and another`)
    records.set(one.id, booked)
    hold.cost = one.cost
  }
  for (const id of deleted) {
    if (holds.get(id)?.settleKnown === Infinity) found.push(`${id} was deleted and never settled`)
  }
  return holds
}

type Step = { at: number; value: number }
type Bounds = { least: Curve; most: Curve }

/** A value that changes in steps: from a step's time on it has that step's value. */
class Curve {
  readonly steps: Step[] = []

  constructor(changes: { at: number; by: number }[]) {
    let value = 0
    for (const { at, by } of changes.filter((one) => one.at < Infinity).toSorted((a, b) => a.at - b.at)) {
      value += by
      const last = this.steps.at(-1)
      if (last?.at === at) last.value = value
      else this.steps.push({ at, value })
    }
  }

  /** The values between two times, including the value at the first time. */
  *between(from: number, to: number): Generator<number> {
    let [low, high] = [0, this.steps.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.steps[middle]!.at <= from) low = middle + 1
      else high = middle
    }
    yield this.steps[low - 1]?.value ?? 0
    for (let n = low; n < this.steps.length && this.steps[n]!.at <= to; n++) yield this.steps[n]!.value
  }
}

function boundsOf({ scope }: Quota, holds: Hold[]): Bounds {
  const own = holds.filter(({ scopes }) => scopes.includes(scope))
  return {
    least: new Curve(
      own.flatMap(({ amount, cost, known, settleBegun }) => [
        { at: known, by: amount },
        // A hold that was settled before its grant was answered existed at least for a moment; the later time is safe.
        { at: Math.max(known, settleBegun), by: cost - amount },
      ]),
    ),
    most: new Curve(
      own.flatMap(({ amount, cost, begun, settleKnown }) => [
        { at: begun, by: amount },
        { at: settleKnown, by: cost - amount },
      ]),
    ),
  }
}

/** Whether a quota can have held exactly this amount at some moment of a request: both bounds change only in steps. */
function stoodAt({ least, most }: Bounds, used: number, { sent, answered }: Span): boolean {
  const lows = [...least.between(sent, answered)]
  const highs = [...most.between(sent, answered)]
  return Math.min(...lows) <= used && used <= Math.max(...highs)
}
