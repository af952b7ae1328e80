import { execFileSync } from 'node:child_process'
import { setImmediate as turn } from 'node:timers/promises'
import pg from 'pg'
import t from 'tap'
import { parse } from 'yaml'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../../src/embedded/postgres.ts'
import { makeDataDir } from '../../helpers/servers/embedded.ts'
import { randomOf, readSeed } from '../../helpers/random.ts'
import { ADMIN_KEY, startService } from '../../helpers/servers/service.ts'
import { startTcpProxy } from '../../helpers/servers/tcp-proxy.ts'

const seed = readSeed()
t.comment(`seed ${seed}; PURSER_TEST_SEED repeats it`)

const ANSWER_MS_MAX = 2_000
const CLIENTS = 8

const dataDir = makeDataDir(t)
let postgres: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir })
t.teardown(() => postgres.stop())
const portOf = (url: string) => Number(new URL(url).port)
const toPostgres = await startTcpProxy(t, portOf(postgres.databaseUrl))
const service = await startService(t, toPostgres.through(postgres.databaseUrl), { LOG_LEVEL: 'silent' })
const toService = await startTcpProxy(t, portOf(service.url))

type Sent = { status: number; retryAfter: string | null; code: string; ms: number; json: Record<string, unknown> }

/** One request and how long its answer took. Status 0 means that the connection broke. */
async function send(
  base: string,
  method: string,
  path: string,
  body?: unknown,
  key?: string,
  bearer = ADMIN_KEY,
): Promise<Sent> {
  const begun = performance.now()
  try {
    const response = await fetch(base + path, {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    const json = (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown>
    return {
      status: response.status,
      retryAfter: response.headers.get('retry-after'),
      code: String(json['code']),
      ms: performance.now() - begun,
      json,
    }
  } catch {
    return { status: 0, retryAfter: null, code: '', ms: performance.now() - begun, json: {} }
  }
}

/** Runs the work. Returns the longest time of a request without Postgres, which shows how slow the machine is. */
async function measureMachine(work: () => Promise<void>): Promise<number> {
  let running = true
  let slowestMs = 0
  const watching = (async () => {
    while (running) slowestMs = Math.max(slowestMs, (await send(service.url, 'GET', '/healthz')).ms)
  })()
  try {
    await work()
  } finally {
    running = false
    await watching
  }
  return slowestMs
}

async function query<Row extends object>(statement: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: postgres.databaseUrl })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(statement)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

/** Waits until the service decides again by itself. The test runner's timeout bounds the wait. */
async function untilWell(): Promise<void> {
  while ((await send(service.url, 'GET', '/readyz')).status !== 200) await turn()
}

/** The pids of the server and of every process that it started. */
function processesOf(server: number): number[] {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  const rows = table.map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
  return [server, ...rows.filter(([, parent]) => parent === server).map(([pid]) => pid)]
}

function signal(pids: number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name)
    } catch {
      // The process has ended meanwhile.
    }
  }
}

/** Every operation of the contract that needs an API key. */
async function operations(): Promise<{ method: string; path: string }[]> {
  const text = await (await fetch(`${service.url}/openapi.yaml`)).text()
  const { paths } = parse(text) as { paths: Record<string, Record<string, object>> }
  return Object.entries(paths).flatMap(([path, methods]) =>
    path.startsWith('/v1/')
      ? Object.keys(methods).map((method) => ({
          method: method.toUpperCase(),
          path: path.replace(/\{\w+\}/g, '01980000-0000-7000-8000-000000000000'),
        }))
      : [],
  )
}

const HOLD = { resource_type: 'llm', tenant_id: 'acme', estimated_cost_usd: '0.01' }
const NOBODY = '/v1/reservations/01980000-0000-7000-8000-000000000000'

/** Valid requests, so that they reach Postgres even if their API key is cached. */
const SOUND: [method: string, path: string, body?: object][] = [
  ['POST', '/v1/reservations', HOLD],
  ['POST', '/v1/reservations', { ...HOLD, tenant_id: 'new' }],
  ['POST', `${NOBODY}/commit`, { actual_cost_usd: 1 }],
  ['POST', `${NOBODY}/release`, {}],
  ['GET', NOBODY],
  ['POST', '/v1/estimates', { resource_type: 'llm', llm: { provider: 'x', model: 'y', usage: { input_tokens: 1 } } }],
  ['PUT', '/v1/quotas', { scope: 'tenant', tenant_id: 'acme', period: 'month', limit_usd: 1_000 }],
  ['GET', '/v1/quotas'],
  ['GET', '/v1/quotas/status?tenant_id=acme'],
  ['GET', '/v1/cost-records'],
  ['GET', '/v1/costs'],
  ['POST', '/v1/api-keys', { name: 'n', role: 'viewer' }],
  ['GET', '/v1/api-keys'],
  ['DELETE', '/v1/api-keys/01980000-0000-7000-8000-000000000000'],
  ['GET', '/v1/integrity'],
  ['GET', '/readyz'],
]

const OUTAGES: { name: string; begin: () => void | Promise<void>; end: () => void | Promise<void> }[] = [
  {
    name: 'stopped',
    begin: () => signal(processesOf(postgres.pid), 'SIGSTOP'),
    end: () => signal(processesOf(postgres.pid), 'SIGCONT'),
  },
  { name: 'behind a silent connection', begin: () => toPostgres.silence(), end: () => toPostgres.mend() },
  { name: 'behind a cut connection', begin: () => toPostgres.cut(), end: () => toPostgres.mend() },
]

for (const { name, begin, end } of OUTAGES) {
  t.test(`while Postgres is ${name} every route answers 503 in time, and it recovers by itself`, async (t) => {
    const all = await operations()
    t.ok(all.length >= 13)
    const answers = new Map<string, Sent>()
    const machineMs = await measureMachine(async () => {
      // From here the API key is cached for a second, so that the requests get past its lookup.
      await Promise.all(SOUND.slice(-2).map(([method, path]) => send(service.url, method, path)))
      await begin()
      const ask = async (label: string, method: string, path: string, body?: object) =>
        answers.set(`${label} ${method} ${path}`, await send(service.url, method, path, body))
      await Promise.all(SOUND.map(([method, path, body], n) => ask(`sound ${n}`, method, path, body)))
      // With an API key that is not cached: each request needs Postgres for the lookup.
      await Promise.all(
        all.map(async ({ method, path }) => {
          const body = /GET|DELETE/.test(method) ? undefined : {}
          const answer = await send(service.url, method, path, body, undefined, `unknown-${method}-${path}`)
          answers.set(`any ${method} ${path}`, answer)
        }),
      )
      await Promise.all(SOUND.map(([method, path, body], n) => ask(`again ${n}`, method, path, body)))
      await end()
      await untilWell()
    })
    const slowestMs = Math.max(...[...answers.values()].map(({ ms }) => ms))
    t.comment(`slowest answer ${slowestMs.toFixed()} ms, the machine itself ${machineMs.toFixed()} ms`)
    for (const [what, { status, retryAfter, ms }] of answers) {
      t.same({ status, retryAfter }, { status: 503, retryAfter: '1' }, what)
      t.ok(
        ms <= ANSWER_MS_MAX + machineMs,
        `${what} took ${ms.toFixed()} ms, the machine itself ${machineMs.toFixed()}`,
      )
    }
    // Postgres may have made a hold whose answer was lost. Without an idempotency key nobody can claim it.
    const open = `select from copilot_internal.reservations where status = 'reserved'`
    while ((await query(open)).length > 0) await turn()
    t.same(
      await query(`select from copilot_internal.reservations where status <> 'released'`),
      [],
      'all holds were released',
    )
    const last = await send(service.url, 'POST', '/v1/reservations', HOLD)
    t.equal(last.status, 201)
    await send(service.url, 'POST', `/v1/reservations/${String(last.json['reservation_id'])}/release`, {})
    t.equal((await send(service.url, 'GET', '/v1/costs')).status, 200)
  })
}

t.test('a report that Postgres interrupts answers 503 in time', async (t) => {
  const blocker = new pg.Client({ connectionString: postgres.databaseUrl })
  blocker.on('error', () => {})
  await blocker.connect()
  await blocker.query('begin; lock table copilot_internal.e2b_cost_records in access exclusive mode')
  const report = send(service.url, 'GET', '/v1/integrity')
  for (;;) {
    const { rowCount } = await blocker.query(`select from pg_locks where not granted and pid <> pg_backend_pid()`)
    if (rowCount !== 0) break
  }
  const begun = performance.now()
  let stoppedMs = 0
  const machineMs = await measureMachine(async () => {
    signal(processesOf(postgres.pid), 'SIGSTOP')
    const { status, retryAfter } = await report
    stoppedMs = performance.now() - begun
    t.same({ status, retryAfter }, { status: 503, retryAfter: '1' })
  })
  signal(processesOf(postgres.pid), 'SIGCONT')
  t.ok(stoppedMs <= ANSWER_MS_MAX + machineMs, `${stoppedMs.toFixed()} ms`)
  await blocker.query('commit')
  await blocker.end()
  await untilWell()
})

t.test(
  'a lock held by another session gives a 503 in time to all that wait for it, directly or behind others',
  async (t) => {
    const blocker = new pg.Client({ connectionString: postgres.databaseUrl })
    await blocker.connect()
    await blocker.query('begin; select pg_advisory_xact_lock(copilot_internal.quota_lock())')
    const answers: Sent[] = []
    const machineMs = await measureMachine(async () => {
      const client = async () => {
        for (let n = 0; n < 3; n++) answers.push(await send(service.url, 'POST', '/v1/reservations', HOLD))
      }
      await Promise.all(Array.from({ length: CLIENTS }, client))
    })
    await blocker.query('commit')
    await blocker.end()
    for (const { status, retryAfter, ms } of answers) {
      t.same({ status, retryAfter }, { status: 503, retryAfter: '1' })
      t.ok(ms <= ANSWER_MS_MAX + machineMs, `${ms.toFixed()} ms, the machine itself ${machineMs.toFixed()}`)
    }
    await untilWell()
    t.equal((await send(service.url, 'POST', '/v1/reservations', HOLD)).status, 201)
  },
)

/** Starts the server on its folder again. Processes of the killed server may need a moment to end. */
async function startAgain(): Promise<void> {
  await postgres.stop()
  for (let tries = 1; ; tries += 1) {
    try {
      postgres = await startEmbeddedPostgres({ dataDir })
      break
    } catch (error) {
      if (tries === 20) throw error
    }
  }
  toPostgres.leadTo(portOf(postgres.databaseUrl))
}

/** A client that observes, for the queries of the test while connections break. */
async function tryQuery(statement: string): Promise<void> {
  await query(statement).catch(() => {})
}

const random = randomOf(seed)
const spoiled = { answers: 0 }

const SPOILERS: { name: string; base: string; spoil: (round: number) => Promise<void>; rounds: number }[] = [
  {
    name: 'a Postgres that is killed and started again',
    base: service.url,
    rounds: 1,
    spoil: async () => {
      process.kill(postgres.pid, 'SIGKILL')
      await startAgain()
    },
  },
  {
    name: 'a Postgres that is restarted immediately',
    base: service.url,
    rounds: 1,
    spoil: async () => {
      process.kill(postgres.pid, 'SIGQUIT')
      await startAgain()
    },
  },
  {
    name: 'a killed session, which ends all others',
    base: service.url,
    rounds: 2,
    spoil: async () => {
      const sessions = await query<{ pid: number }>(
        `select pid from pg_stat_activity where application_name = 'purser'`,
      ).catch(() => [])
      if (sessions.length > 0) signal([random.pick(sessions).pid], 'SIGKILL')
    },
  },
  {
    name: 'randomly ended sessions',
    base: service.url,
    rounds: 40,
    spoil: () =>
      tryQuery(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'purser' and random() < ${random.next()}`,
      ),
  },
  {
    name: 'a connection to Postgres that breaks at random',
    base: service.url,
    rounds: 3,
    spoil: async () => {
      toPostgres.cut()
      for (let n = random.below(20); n > 0; n--) await send(service.url, 'GET', '/healthz')
      toPostgres.mend()
    },
  },
  {
    name: 'answers lost on the way to the client',
    base: toService.through(service.url),
    rounds: 1,
    spoil: async () => {
      toService.dropAnswers(() => random.next() < 0.2 && (spoiled.answers += 1) > 0)
    },
  },
]

/** Sends the same request with the same key until it is answered, as a caller would. */
type Deed = { key: string; cents: number }

for (const [s, { name, base, spoil, rounds }] of SPOILERS.entries()) {
  t.test(`with ${name} nothing is lost or booked twice: a retry with its key finds what was done`, async (t) => {
    const tenant = `t-${s}`
    await untilWell()
    const quota = { scope: 'tenant', tenant_id: tenant, period: 'day', limit_usd: 1_000 }
    t.match(await send(service.url, 'PUT', '/v1/quotas', quota), { status: 201 })
    const body = ({ cents }: Deed) => ({ ...HOLD, tenant_id: tenant, estimated_cost_usd: (cents / 100).toFixed(2) })
    const cost = ({ cents }: Deed) => ({ actual_cost_usd: (cents / 200).toFixed(3) })
    const deeds: Deed[] = []
    const statuses = new Map<number, number>()
    let spoiling = true
    const note = (answer: Sent) => {
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      return answer
    }
    const client = async (c: number) => {
      // Some requests follow the last round, so that the last outage meets a load too.
      for (let n = 0; spoiling || n < 30; n++) {
        const deed = { key: `${tenant}-${c}-${n}`, cents: 1 + random.below(9) }
        deeds.push(deed)
        const held = note(await send(base, 'POST', '/v1/reservations', body(deed), deed.key))
        if (held.status === 201)
          note(await send(base, 'POST', `/v1/reservations/${String(held.json['reservation_id'])}/commit`, cost(deed)))
      }
    }
    const load = Promise.all(Array.from({ length: CLIENTS }, (_, c) => client(c)))
    for (let round = 0; round < rounds; round++) {
      const before = deeds.length
      while (deeds.length < before + CLIENTS) await turn()
      await spoil(round)
    }
    spoiling = false
    await load
    toService.dropAnswers(() => false)
    await untilWell()
    const allowed = [200, 201, 503, ...(base === service.url ? [] : [0])]
    t.same(
      [...statuses.keys()].filter((status) => !allowed.includes(status)),
      [],
      `${deeds.length} reservations; ${JSON.stringify(Object.fromEntries(statuses))}`,
    )

    for (const deed of deeds) {
      const held = await send(service.url, 'POST', '/v1/reservations', body(deed), deed.key)
      const committed = await send(
        service.url,
        'POST',
        `/v1/reservations/${String(held.json['reservation_id'])}/commit`,
        cost(deed),
      )
      if (held.status !== 201 || committed.status !== 200) t.fail('each retry is answered', { held, committed })
    }
    const [sums] = await query<object>(`
      select (select count(*)::integer from copilot_internal.reservations where tenant_id = '${tenant}') as holds,
             (select count(*)::integer from copilot_internal.llm_cost_records where tenant_id = '${tenant}') as lines,
             (select sum(spent)::float8 from copilot_internal.quota_periods where tenant_id = '${tenant}' and limit_usd = 1000) as spent,
             (select sum(reserved)::float8 from copilot_internal.quota_periods where tenant_id = '${tenant}') as reserved`)
    const spent = deeds.reduce((sum, { cents }) => sum + cents * 5, 0) / 1_000
    t.same(sums, { holds: deeds.length, lines: deeds.length, spent, reserved: 0 })
    t.same(await query('select * from copilot_internal.check_integrity()'), [])
  })
}

t.test('after a Postgres restart between a batch and its answer, retries find everything done once', async (t) => {
  const tenant = { ...HOLD, tenant_id: 'between' }
  /** Sends all at once, restarts Postgres once all is done and nothing answered, and retries until all are answered. */
  async function restartBetween(sql: string, isDone: string, deeds: (() => Promise<Sent>)[], success: number) {
    toPostgres.keepBackAnswersTo(`copilot_internal.${sql}`)
    const first = deeds.map((deed) => deed())
    for (;;) {
      const [row] = await query<{ done: boolean }>(`select (${isDone}) as done`)
      if (row!.done && toPostgres.keptBack() > 0) break
    }
    process.kill(postgres.pid, 'SIGQUIT')
    await startAgain()
    toPostgres.keepBackAnswersTo(null)
    const answers = await Promise.all(first)
    for (const { status } of answers) t.ok([success, 503].includes(status), `${sql} ${status}`)
    await untilWell()
    return Promise.all(
      deeds.map(async (deed) => {
        let answer = await deed()
        while (answer.status === 503) answer = await deed()
        t.equal(answer.status, success)
        return answer
      }),
    )
  }
  await send(service.url, 'POST', '/v1/reservations', { ...tenant, tenant_id: 'between-before' })
  const count = 6
  const holds = await restartBetween(
    'reserve_spend',
    `select count(*) > 0 from copilot_internal.reservations where tenant_id = 'between'`,
    Array.from(
      { length: count },
      (_, n) => () => send(service.url, 'POST', '/v1/reservations', tenant, `between-${n}`),
    ),
    201,
  )
  const ids = holds.map(({ json }) => String(json['reservation_id']))
  t.equal(new Set(ids).size, count)
  await restartBetween(
    'commit_spend',
    `select count(*) > 0 from copilot_internal.llm_cost_records where tenant_id = 'between'`,
    ids.map((id) => () => send(service.url, 'POST', `/v1/reservations/${id}/commit`, { actual_cost_usd: '0.02' })),
    200,
  )
  const rows = await query<{ holds: number; lines: number; usd: string }>(
    `select (select count(*)::integer from copilot_internal.reservations where tenant_id = 'between') as holds,
            count(*)::integer as lines, trim_scale(sum(total_cost_usd))::text as usd
     from copilot_internal.llm_cost_records where tenant_id = 'between'`,
  )
  t.same(rows, [{ holds: count, lines: count, usd: '0.12' }])
  t.same(await query('select * from copilot_internal.check_integrity()'), [])
})

t.test('the tests above really lost answers', async (t) => {
  t.ok(spoiled.answers > 0, `${spoiled.answers} answers`)
})
