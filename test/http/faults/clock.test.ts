import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { DatabaseClock } from '../../../src/db/pool/clock.ts'
import { connect } from '../../../src/db/pool/connection.ts'
import { keepRetention } from '../../../src/services/archives/retention.ts'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Service } from '../../helpers/servers/service.ts'

const HOUR_MS = 3_600_000
const TEN_YEARS_MS = 87_660 * HOUR_MS
const MODULE = pathToFileURL(join(import.meta.dirname, '..', '..', 'helpers', 'shifted-clock.ts')).href

const database = await createDatabase(t)
// The price of this model changes in the hour before and in the hour after the time of the tests.
const version = (effective_date: string, usd: number) => ({
  ...{ provider: 'p', model: 'm', source: 'test', effective_date },
  usd_per_mtok: { input: usd, output: usd },
})
await database.pool.query('select copilot_internal.publish_model_prices($1)', [
  JSON.stringify([version('2027-01-01Z', 1), version('2027-05-05T23:20:00Z', 2), version('2027-05-06T00:15:00Z', 4)]),
])

/** Moves the time and waits until the sweeper has settled lapsed holds. No clock decides when it comes. */
async function moveTo(at: string): Promise<void> {
  await setNow(database, at)
  for (;;) {
    const { rowCount } = await database.pool.query(
      `select from copilot_internal.reservations where status = 'reserved' and expires_at <= copilot_internal.clock_now()`,
    )
    if (rowCount === 0) return
  }
}

/** All time-dependent answers around midnight, without the random ids. */
async function play(t: Test, shiftMs: number): Promise<unknown[]> {
  await setNow(database, '2027-05-05T23:50:00Z')
  const service = await startService(t, database.url, {
    NODE_OPTIONS: `--import ${MODULE}`,
    TEST_CLOCK_SHIFT_MS: String(shiftMs),
    LOG_LEVEL: 'info',
  })
  t.ok(Math.abs(loggedMs(service) - Date.now() - shiftMs) < HOUR_MS / 2, 'the process clock is wrong')
  const tenant = `off-by-${shiftMs}`
  const answers: unknown[] = []
  const note = (text: string) => {
    const known = text.replaceAll(tenant, 'the tenant').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'an id')
    answers.push(JSON.parse(known.replace(/"(quota_id|key|prefix|instance|retry)":("[^"]*"|\d+)/g, '"$1":0')))
  }
  const call = async (...[method, path, body, headers]: Parameters<Service['call']>) => {
    const answer = await service.call(method, path, body, headers)
    note(answer.text === '' ? '{}' : answer.text)
    answers.push(answer.status, answer.headers.get('retry-after'))
    return answer
  }
  const llm = { provider: 'p', model: 'm', input_tokens: 1_000_000, max_output_tokens: 0 }
  const reserve = (more: object = {}) =>
    call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: tenant, llm, ...more })

  // The process computes its first answer before it has asked Postgres for a decision.
  await call('POST', '/v1/estimates', {
    resource_type: 'llm',
    llm: { provider: 'p', model: 'm', usage: { input_tokens: 1_000_000 } },
  })
  const raised = {
    scope: 'tenant',
    tenant_id: tenant,
    period: 'hour',
    limit_usd: 5,
    raise: { limit_usd: 9, until: '2027-05-06T00:10:00Z' },
  }
  await call('PUT', '/v1/quotas', raised)
  const made = await service.call('POST', '/v1/api-keys', {
    name: 'short',
    role: 'service',
    expires_at: '2027-05-06T00:20:00Z',
  })
  const short = { authorization: `Bearer ${made.json.key}` }
  const held = await reserve()
  assertMadeAt(t, held.json.reservation_id, '2027-05-05T23:50')
  const lapsing = await reserve({ ttl_seconds: 1_200 })
  await reserve({ estimated_cost_usd: 4.5, llm: undefined })
  await reserve({ estimated_cost_usd: 1, llm: undefined })
  await call('GET', `/v1/quotas/status?tenant_id=${tenant}`)

  await moveTo('2027-05-06T00:05:00Z')
  const committed = await call('POST', `/v1/reservations/${held.json.reservation_id}/commit`, {
    usage: { input_tokens: 900_000 },
  })
  assertMadeAt(t, committed.json.cost_record_id, '2027-05-0')
  await reserve()
  await call('GET', `/v1/quotas/status?tenant_id=${tenant}`, undefined, { 'cache-control': 'no-cache', ...short })

  await moveTo('2027-05-06T00:16:00Z')
  await call('POST', `/v1/reservations/${lapsing.json.reservation_id}/commit`, { actual_cost_usd: 1 })
  await reserve()
  await reserve()
  await call('GET', `/v1/costs?group_by=day&tenant_id=${tenant}`)
  await call('GET', `/v1/cost-records?tenant_id=${tenant}`)

  await moveTo('2027-05-06T00:21:00Z')
  const late = await service.call('GET', `/v1/quotas/status?tenant_id=${tenant}`, undefined, short)
  // A valid API key is cached for a second.
  answers.push([200, 401].includes(late.status))
  await assertHealthy(t, database.pool)
  await service.stop()
  return answers
}

/** Asserts that the time in an id starts with this text. */
function assertMadeAt(t: Test, id: string, begin: string): void {
  const at = new Date(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toISOString()
  t.ok(at.startsWith(begin), `the id ${id} was made at ${at}`)
}

/** The time of a line in the process's log. */
function loggedMs(service: Service): number {
  return Number(/"time":(\d+)/.exec(service.output())?.[1])
}

t.test('a process clock that is wrong by an hour or ten years changes no decision', async (t) => {
  const right = await play(t, 0)
  t.ok(right.length > 30)
  t.match(right[0], { cost_usd: 2 }, 'the price is the one in force by the Postgres clock')
  for (const shiftMs of [HOUR_MS, -HOUR_MS, TEN_YEARS_MS]) t.same(await play(t, shiftMs), right, `${shiftMs} ms off`)

  await setNow(database, '2027-06-10T00:00:00Z')
  const db = connect(database.url, { connectionsMax: 1, statementMs: 60_000 })
  t.teardown(() => db.destroy())
  const days = { retentionDays: 90, archiveYears: 7, reservationDays: 30, eventDays: 90 }
  await keepRetention({ db, archiveDir: t.testdir(), ...days }, new AbortController().signal)
  const { rows } = await database.pool.query('select reservation_id from copilot_internal.reservations')
  t.same(rows, [], 'no reservation is kept for longer than the retention')
})

t.test('after a jump of the Postgres clock, a price that has started is used at once', async (t) => {
  await setNow(database, '2027-07-01T00:00:00Z')
  const from = (hour: string) => `2027-07-01T${hour}:00:00Z`
  const at = { source: 'test', usd_per_mtok: { input: 3, output: 3 } }
  await database.pool.query('select copilot_internal.publish_model_prices($1)', [
    JSON.stringify(
      ['02', '04', '06'].map((hour) => ({ provider: 'p', model: `since-${hour}`, effective_date: from(hour), ...at })),
    ),
  ])
  await database.pool.query('select copilot_internal.publish_e2b_prices($1)', [
    JSON.stringify([
      {
        ...{ tier: 'since-08', region: 'us-east-1', vcpu: 1, memory_mib: 1024, source: 'test' },
        ...{ usd_per_vcpu_second: '0.1', usd_per_gib_second: '0', effective_date: from('08') },
      },
    ]),
  ])
  const service = await startService(t, database.url)
  const reserve = (model: string) => ({
    ...{ resource_type: 'llm', tenant_id: 'jump' },
    llm: { provider: 'p', model, input_tokens: 1_000, max_output_tokens: 0 },
  })
  const estimate = { resource_type: 'llm', llm: { provider: 'p', model: 'since-06', usage: { input_tokens: 1_000 } } }
  const run = { resource_type: 'e2b', e2b: { tier: 'since-08', seconds: 10 } }
  t.match(await service.call('POST', '/v1/reservations', reserve('since-02')), { json: { code: 'price_not_found' } })
  for (const [hour, path, body] of [
    ['03', '/v1/reservations', reserve('since-02')],
    ['05', '/v1/reservations/check', reserve('since-04')],
    ['07', '/v1/estimates', estimate],
    ['09', '/v1/estimates', run],
  ] as const) {
    await setNow(database, from(hour))
    const { status, text } = await service.call('POST', path, body)
    t.ok(status === 200 || status === 201, `${path} at ${hour}: ${text}`)
  }
})

t.test('a price that ended during a jump is no longer used, even by an instance without decisions', async (t) => {
  await setNow(database, '2027-05-05T23:50:00Z')
  const service = await startService(t, database.url)
  const estimate = async () => {
    const llm = { provider: 'p', model: 'm', usage: { input_tokens: 1_000_000 } }
    return (await service.call('POST', '/v1/estimates', { resource_type: 'llm', llm })).json.cost_usd as number
  }
  t.equal(await estimate(), 2)
  await setNow(database, '2027-05-06T00:20:00Z')
  // The sweep learns the time from Postgres each second.
  while ((await estimate()) !== 4);
})

t.test('after a suspension of the machine, the next time comes from Postgres', async (t) => {
  let postgresMs = Date.parse('2027-05-05T23:50:00Z')
  let asked = 0
  const clock = new DatabaseClock(new Date(postgresMs), async () => {
    asked += 1
    return new Date(postgresMs)
  })
  await clock.current()
  t.equal(asked, 0)
  const wall = Date.now
  t.intercept(Date, 'now', { value: () => wall() + HOUR_MS })
  postgresMs += HOUR_MS
  const both = await Promise.all([clock.current(), clock.current()])
  for (const now of both) t.ok(now.getTime() >= postgresMs)
  t.equal(asked, 1, 'concurrent calls share the answer')
})

t.test('while Postgres does not answer, the known time keeps running', async (t) => {
  const clock = new DatabaseClock(new Date('2027-05-05T23:50:00Z'), () =>
    Promise.reject(Object.assign(new Error('gone'), { code: 'ECONNREFUSED' })),
  )
  const wall = Date.now
  t.intercept(Date, 'now', { value: () => wall() + HOUR_MS })
  t.match((await clock.current()).toISOString(), '2027-05-05T23:50:00')
  await t.rejects(clock.refresh(), { code: 'ECONNREFUSED' })
})
