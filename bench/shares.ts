// What a platform quota that is split over shards refuses too early: npm run bench:shares. A simulation: no server is started.
import { parseArgs } from 'node:util'
import { randomOf } from '../test/helpers/random.ts'

const help = `Usage: npm run bench:shares -- [options]

Simulates a day of a platform quota that N shards decide about, each with a share of the limit of its own. Tenants live on
one shard each, some large and most small; requests come through the day with a few bursts of a tenant, and ask for more
than the limit in all. Two ways to share:
  fixed      a shard keeps an equal share for the whole day
  leases     a shard draws a piece of what nobody has drawn yet when its share is used up; when all is drawn, the shard that
             has most left gives half of it
A request that a shard refuses while the platform's limit still had room for it is refused too early.

Options
  --requests N   requests of the day (default 200000)
  --tenants N    tenants (default 1000)
  --piece N      a lease's first piece is the limit / (N x shards) (default 50)
  --demand N     what is asked for in all, as a multiple of the limit (default 1.2)
  --seed N       of the random choices (default 1)
  --json         the figures as JSON
  --help         this text
`

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '200000' },
    tenants: { type: 'string', default: '1000' },
    piece: { type: 'string', default: '50' },
    demand: { type: 'string', default: '1.2' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const SHARDS = [2, 4, 16, 64]
const POLICIES = ['fixed', 'leases'] as const
/** In micros of a USD, so that sums are whole numbers. */
const LIMIT = 1_000_000_000
/** Of a hundred requests so many belong to a burst of one tenant. */
const BURST_SHARE = 20
const BURST_REQUESTS = 500

type Policy = (typeof POLICIES)[number]
type Request = { tenant: number; amount: number }
type Row = {
  policy: Policy
  shards: number
  /** Of the limit: how much of it had been granted when a request was first refused that fitted; 1: never before the end. */
  firstRefusedAt: number
  refusedEarly: number
  /** Of the limit, what was not granted in the end although more was asked for. */
  unused: number
  moves: number
  /** Of those, how many before 99 % of the limit were granted: what is left then is dust, for which every request asks. */
  movesBefore: number
}

if (values.help) process.stdout.write(help)
else {
  const requests = makeDay()
  print(POLICIES.flatMap((policy) => SHARDS.map((shards) => play(policy, shards, requests))))
}

/** Requests of a day in order: tenants by Zipf's law, amounts from a hundredth to ten times the mean, bursts in between. */
function makeDay(): Request[] {
  const random = randomOf(Number(values.seed))
  const tenants = Number(values.tenants)
  const count = Number(values.requests)
  const weights = Array.from({ length: tenants }, (_, n) => 1 / (n + 1))
  const ladder: number[] = []
  for (const weight of weights) ladder.push((ladder.at(-1) ?? 0) + weight)
  const pick = () => {
    const at = random.next() * ladder.at(-1)!
    const found = ladder.findIndex((step) => step > at)
    return found === -1 ? tenants - 1 : found
  }
  const raw: Request[] = []
  while (raw.length < count) {
    const isBurst = random.next() * 100 < BURST_SHARE / (BURST_REQUESTS / 100)
    const tenant = isBurst ? random.below(tenants) : pick()
    const length = isBurst ? BURST_REQUESTS : 100
    for (let n = 0; n < length && raw.length < count; n += 1)
      raw.push({ tenant: isBurst ? tenant : pick(), amount: Math.exp(random.next() * Math.log(1_000)) })
  }
  const sum = raw.reduce((all, { amount }) => all + amount, 0)
  const factor = (Number(values.demand) * LIMIT) / sum
  return raw.map(({ tenant, amount }) => ({ tenant, amount: Math.max(1, Math.round(amount * factor)) }))
}

function play(policy: Policy, shards: number, requests: Request[]): Row {
  const left = Array.from({ length: shards }, () => (policy === 'fixed' ? Math.floor(LIMIT / shards) : 0))
  let pot = policy === 'fixed' ? 0 : LIMIT
  const piece = Math.ceil(LIMIT / (Number(values.piece) * shards))
  let granted = 0
  let refusedEarly = 0
  let moves = 0
  let movesBefore = 0
  let firstRefusedAt = 1
  for (const { tenant, amount } of requests) {
    // A tenant's own quotas live with it on one shard; which one is by its number, scattered.
    const shard = Math.imul(tenant + 1, 0x9e3779b1) >>> 0
    const own = shard % shards
    if (left[own]! < amount && policy === 'leases') {
      const drawn = Math.min(pot, Math.max(piece, amount - left[own]!))
      if (drawn > 0) moves += 1
      pot -= drawn
      left[own]! += drawn
      if (left[own]! < amount) {
        const richest = left.reduce((best, usd, n) => (usd > left[best]! ? n : best), 0)
        const given = Math.max(Math.floor(left[richest]! / 2), Math.min(left[richest]!, amount - left[own]!))
        if (richest !== own && given > 0) {
          moves += 1
          left[richest]! -= given
          left[own]! += given
        }
      }
    }
    if (granted < 0.99 * LIMIT) movesBefore = moves
    if (left[own]! >= amount) {
      left[own]! -= amount
      granted += amount
    } else if (granted + amount <= LIMIT) {
      refusedEarly += 1
      firstRefusedAt = Math.min(firstRefusedAt, granted / LIMIT)
    }
  }
  return { policy, shards, firstRefusedAt, refusedEarly, unused: (LIMIT - granted) / LIMIT, moves, movesBefore }
}

function print(rows: Row[]): void {
  if (values.json) return void process.stdout.write(`${JSON.stringify({ ...values, rows }, null, 2)}\n`)
  const percent = (part: number) => `${(part * 100).toFixed(2)} %`
  const columns = (cells: string[]) => cells.map((cell, n) => (n === 0 ? cell.padEnd(8) : cell.padStart(18))).join('')
  const lines = [
    '',
    `${values.requests} requests of ${values.tenants} tenants for ${values.demand} times the limit, seed ${values.seed}`,
    columns(['policy', 'shards', 'refused too early', 'the first at', 'never granted', 'moves', 'moves before 99 %']),
    ...rows.map((row) =>
      columns([
        row.policy,
        String(row.shards),
        percent(row.refusedEarly / Number(values.requests)),
        `${percent(row.firstRefusedAt)}`,
        percent(row.unused),
        String(row.moves),
        String(row.movesBefore),
      ]),
    ),
    '',
  ]
  process.stdout.write(lines.join('\n'))
}
