// Whether the time of a refusal tells how much of a wrong key is right: npm run bench:keys. It prints; it never fails for a time.
import { randomBytes, randomInt } from 'node:crypto'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { startService } from './processes.ts'
import { onStage, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:keys -- [options]

Sends wrong keys to the service in turn: some differ from a real one in a character at the beginning, some in one at the end,
some share nothing with it, and one was revoked. Compares how long each kind is refused with those that share nothing.

Options
  --rounds N   keys of each kind (default 5000)
  --json       the figures as JSON
  --help       this text
`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5000' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const ADMIN_KEY = 'bench-admin-key-0123456789'
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
/** psr_, 43 characters, 8 of a checksum. */
const [FIRST, LAST] = [4, 46]
/** The slowest of each kind say what else the machine did. */
const KEPT = 0.9

if (values.help) process.stdout.write(help)
else report(compare(await onStage(measure)))

type Kind = 'shares nothing' | 'differs at the beginning' | 'differs at the end' | 'was revoked'
type Row = { kind: Kind; medianMicros: number; differenceMicros: number; plusMinusMicros: number }

async function measure(stack: AsyncDisposableStack): Promise<Map<Kind, number[]>> {
  const postgres = await startPostgres(stack)
  const service = await startService({
    DATABASE_URL: postgres.databaseUrl,
    PURSER_ADMIN_KEY: ADMIN_KEY,
    PURSER_TRUSTED_PROXIES: 'loopback',
  })
  stack.defer(() => service.stop())
  const [url, rounds] = [service.url, Number(values.rounds)]
  const real = await makeKey(url)
  const revoked = await makeKey(url)
  await administer(url, 'DELETE', `/v1/api-keys/${revoked.key_id}`)
  const guesses: [Kind, () => string][] = [
    ['shares nothing', () => `psr_${randomBytes(38).toString('base64url')}`],
    ['differs at the beginning', () => changed(real.key, FIRST)],
    ['differs at the end', () => changed(real.key, LAST)],
    ['was revoked', () => revoked.key],
  ]
  const times = new Map<Kind, number[]>(guesses.map(([kind]) => [kind, []]))
  for (let round = -rounds / 10; round < rounds; round += 1) {
    for (let turn = 0; turn < guesses.length; turn += 1) {
      const [kind, guess] = guesses[(turn + Math.abs(round)) % guesses.length]!
      const headers = { authorization: `Bearer ${guess()}`, 'x-forwarded-for': anyAddress() }
      const startedAt = performance.now()
      const { status } = await fetch(`${url}/v1/quotas`, { headers }).then(async (answer) => {
        await answer.arrayBuffer()
        return answer
      })
      const micros = (performance.now() - startedAt) * 1_000
      if (status !== 401) throw new Error(`a key that ${kind} was answered ${status}`)
      if (round >= 0) times.get(kind)!.push(micros)
    }
  }
  return times
}

async function makeKey(url: string): Promise<{ key_id: string; key: string }> {
  const made = await administer(url, 'POST', '/v1/api-keys', { name: 'bench', role: 'viewer' })
  return (await made.json()) as { key_id: string; key: string }
}

async function administer(url: string, method: string, path: string, body?: object): Promise<Response> {
  const answer = await fetch(url + path, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  if (!answer.ok) throw new Error(await answer.text())
  return answer
}

/** Another character at one place. */
function changed(key: string, place: number): string {
  const others = ALPHABET.replace(key[place]!, '')
  return key.slice(0, place) + others[randomInt(others.length)] + key.slice(place + 1)
}

/** Each guess from an address of its own, so that none is refused for the number of them. */
function anyAddress(): string {
  return `10.${randomInt(256)}.${randomInt(256)}.${randomInt(256)}`
}

/** Differences of the means from those that share nothing, with their 95 % interval (Welch). */
function compare(times: Map<Kind, number[]>): Row[] {
  const kinds = [...times].map(([kind, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    const kept = sorted.slice(0, Math.ceil(sorted.length * KEPT))
    const mean = kept.reduce((sum, one) => sum + one, 0) / kept.length
    const variance = kept.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (kept.length - 1)
    return { kind, median: sorted[Math.floor(sorted.length / 2)]!, mean, error: variance / kept.length }
  })
  const nothing = kinds[0]!
  return kinds.map(({ kind, median, mean, error }) => ({
    kind,
    medianMicros: median,
    differenceMicros: mean - nothing.mean,
    plusMinusMicros: kind === nothing.kind ? 0 : 1.96 * Math.sqrt(error + nothing.error),
  }))
}

function report(rows: Row[]): void {
  if (values.json) {
    process.stdout.write(`${JSON.stringify(rows)}\n`)
    return
  }
  process.stdout.write(`${values.rounds} keys of each kind; 95 % of such intervals hold the true difference\n`)
  for (const { kind, medianMicros, differenceMicros, plusMinusMicros } of rows) {
    process.stdout.write(
      `${kind.padEnd(26)}median ${medianMicros.toFixed(0).padStart(5)} us, slower by ` +
        `${differenceMicros.toFixed(1)} us, +- ${plusMinusMicros.toFixed(1)}\n`,
    )
  }
  process.stdout.write(`${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}\n`)
}
