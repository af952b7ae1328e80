import t from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { randomOf, readSeed } from '../../helpers/random.ts'
import { keepAlive, type Incoming } from '../../helpers/servers/keep-alive.ts'
import { startService } from '../../helpers/servers/service.ts'
import { NO_QUANTITY, SAMPLES } from '../../domain/usage-samples.ts'

/** How many usage objects; the same seed and number send the same again. */
const USAGES = Number(process.env['PURSER_TEST_FUZZ_USAGES'] ?? 20_000)
const AT_ONCE = 32
const CHANGES_MAX = 4
const FAILURES_SHOWN = 10
const RESERVED_USD = 0.25

const seed = readSeed()
t.comment(`seed ${seed}, ${USAGES} usages; PURSER_TEST_SEED and PURSER_TEST_FUZZ_USAGES repeat them`)
const random = randomOf(seed)

const database = await createDatabase(t)
const service = await startService(t, database.url, {
  LOG_LEVEL: 'silent',
  PURSER_RATE_LIMIT_DECISIONS: '100000000',
  // Some of these cost millions.
  PURSER_ENFORCEMENT: 'warn',
})
const { authorization } = await service.keyFor('service')
const exchange = keepAlive(t, service.url, { connectionsMax: AT_ONCE, answerMsMax: 60_000 })

function post(path: string, body: unknown): Promise<Incoming> {
  const headers = { authorization, 'content-type': 'application/json' }
  return exchange({ method: 'POST', path, headers, body: JSON.stringify(body) })
}

type Json = Record<string, unknown>

const NUMBERS = [0, 1, 2, 7, 100, 1_000, 272_001, 5_000_000, 1e12, 1e15, -1, 0.5, 1e-7]
const OTHERS = [null, true, '', '12', 'priority', 'x'.repeat(300), [], {}, [1], { deep: { deeper: [3] } }, [[]]]
const NAMES = ['code_runs', 'total_tokens', 'service_tier', 'usage', 'cached_tokens', 'a/b~c', 'constructor', '💰', '']

function objectsIn(value: unknown): Json[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.values(value).flatMap(objectsIn)
  return Array.isArray(value) ? inner : [value as Json, ...inner]
}

/** Makes one random change: a value, a name, an added or removed field, or a part of another provider's object. */
function change(raw: Json): void {
  const at = random.pick(objectsIn(raw))
  const names = Object.keys(at)
  const name = names.length === 0 ? random.pick(NAMES) : random.pick(names)
  const kind = random.next()
  if (kind < 0.35) at[name] = random.pick(NUMBERS)
  else if (kind < 0.5) at[name] = structuredClone(random.pick(OTHERS))
  else if (kind < 0.65) at[random.pick(NAMES)] = random.pick(NUMBERS)
  else if (kind < 0.8) delete at[name]
  else if (kind < 0.9) {
    at[`${name}s`] = at[name]
    delete at[name]
  } else Object.assign(at, structuredClone(random.pick(SAMPLES).raw))
}

function usage() {
  const sample = random.pick(SAMPLES)
  const raw = structuredClone(sample.raw)
  const changes = random.below(CHANGES_MAX + 1)
  for (let done = 0; done < changes; done += 1) change(raw)
  const { source } = random.next() < 0.1 ? random.pick(SAMPLES) : sample
  return { ...source, provider_usage: raw }
}

/** Whether an object has a number above 0 that a provider may charge for. */
function hasCount(value: unknown, pointer = ''): boolean {
  if (typeof value === 'number') return value > 0 && !NO_QUANTITY.test(pointer)
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(([name, part]) => hasCount(part, `${pointer}/${name}`))
}

/** The values under usage names, or the whole object without such a name. Numbers elsewhere in a body are not usage. */
function usagesIn(value: unknown): unknown[] {
  const found = objectsIn(value).flatMap((one) =>
    Object.entries(one).flatMap(([name, part]) => (/usage/i.test(name) ? [part] : [])),
  )
  return found.length > 0 ? found : [value]
}

/** What is wrong with an answer to a commit, or null. */
function faultOf({ status, text: body }: Incoming, sent: unknown): string | null {
  if (status !== 200) return `status ${status}`
  const answer = JSON.parse(body) as {
    cost_usd: number
    estimated: boolean
    price_id: number | null
    warnings: { code: string }[]
  }
  // The tenant soon exceeds its quota; that has nothing to do with the usage.
  const warnings = answer.warnings.filter(({ code }) => code !== 'quota_exceeded')
  const isUnreadable = warnings.some(({ code }) => code === 'usage_unreadable')
  if (isUnreadable && !answer.estimated) return 'unreadable, but not estimated'
  if (answer.estimated && answer.cost_usd !== RESERVED_USD) return 'estimated at another amount than the reserved one'
  if (answer.cost_usd === 0 && warnings.length === 0 && usagesIn(sent).some((part) => hasCount(part)))
    return 'free in silence'
  return null
}

t.test('any usage object is booked, and none costs 0 without a warning', async (t) => {
  const failures: string[] = []
  let sent = 0
  let unreadable = 0
  const work = async () => {
    while (sent < USAGES && failures.length < FAILURES_SHOWN) {
      sent += 1
      const commit = usage()
      const held = await post('/v1/reservations', {
        resource_type: 'llm',
        tenant_id: 'fuzz',
        estimated_cost_usd: RESERVED_USD,
      })
      const { reservation_id: id } = JSON.parse(held.text) as { reservation_id: string }
      const answer = await post(`/v1/reservations/${id}/commit`, commit)
      const fault = faultOf(answer, commit.provider_usage)
      if (fault !== null) failures.push(`${fault}: ${JSON.stringify(commit)} -> ${answer.text.slice(0, 400)}`)
      else {
        if (answer.text.includes('usage_unreadable')) unreadable += 1
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  t.same(failures, [])
  t.comment(`${unreadable} of ${sent} could not be read`)
  t.ok(unreadable > sent / 100 && unreadable < sent / 1.5, 'the objects include readable and unreadable ones')
  const { rows } = await database.pool.query<{ lines: number; open: number }>(`
    select (select count(*)::integer from copilot_internal.llm_cost_records) as lines,
           (select count(*)::integer from copilot_internal.reservations where status <> 'committed') as open`)
  t.same(rows, [{ lines: sent, open: 0 }], 'each commit books one cost record, and no hold is left open')
  await assertHealthy(t, database.pool)
})
