// The figures that anyone can repeat: npm run bench. It prints; it never fails for a time.
import { parseArgs } from 'node:util'
import { sendLoad, type Load } from './load.ts'
import { reportJson, reportText, type Measured, type Report } from './report.ts'
import { KEY, setUp, TENANTS, USERS_PER_TENANT, type Setup } from './setup.ts'
import { onStage, say } from './stage.ts'
import { cpuSeconds, proportionalMib, residentMib } from './usage.ts'

const help = `Usage: npm run bench -- [options]

Measures the service beside two yardsticks in one run: a bare Fastify route that validates the same body, looks the key up
and answers; and the same decision as a transaction for each request. On an embedded Postgres that flushes to disk (fsync
and synchronous_commit on), with authentication, idempotency keys, prices, rate limits and four quotas for each request.

Options
  --rounds N         rounds of each load, in turn (default 5); the medians are shown
  --seconds N        seconds of each load (default 6)
  --connections N,…  connections, one table for each (default 64)
  --only a,b         some of the loads: bare, reserve, half, hot, pairs, refused, mix, one-by-one; half is reserve at
                     half of the rate that reserve had just before, with pauses between a connection's requests
  --reservations N   goes on with reserve until so many are made, and tells how much memory the service has then
  --json             the figures as JSON
  --help             this text

It needs wrk: one on the PATH, or the package of Debian, which it unpacks into .cache/.
`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '6' },
    connections: { type: 'string', default: '64' },
    only: { type: 'string', default: 'bare,reserve,half,hot,pairs,refused,mix,one-by-one' },
    reservations: { type: 'string', default: '0' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** A process is as fast as it gets after about so many requests of a kind: all of them get as many, the quick and the slow. */
const WARM_REQUESTS = 20_000
const WARM_PARTS_MAX = 6

if (values.help) process.stdout.write(help)
else {
  const report = await onStage(bench)
  process.stdout.write(values.json ? reportJson(report) : reportText(report))
}

async function bench(stack: AsyncDisposableStack): Promise<Report> {
  const setup = await setUp(stack)
  const measured: Measured[] = []
  for (const connections of values.connections.split(',').map(Number)) {
    measured.push(...(await rounds(setup, connections)))
  }
  const memory = await fill(setup, Number(values.reservations))
  say('looking for broken invariants')
  const { rows: broken } = await setup.pool.query('select * from copilot_internal.check_integrity()')
  const { rows: server } = await setup.pool.query<{ version: string }>(
    `select current_setting('server_version') as version`,
  )
  return {
    postgres: server[0]!.version,
    measured,
    memory,
    starts: { emptyMs: setup.emptyMs, givenMs: setup.service.startedMs },
    brokenInvariants: broken.length,
  }
}

/** Each load in turn, so that what the machine does meanwhile meets all of them; before the first round all are warmed up. */
async function rounds(setup: Setup, connections: number): Promise<Measured[]> {
  const { service, bare, oneByOne } = setup
  const loads: Record<string, Pick<Load, 'load'> & { of: typeof service; tenants?: number; usersPerTenant?: number }> =
    {
      bare: { of: bare, load: 'reserve' },
      reserve: { of: service, load: 'reserve' },
      half: { of: service, load: 'reserve' },
      hot: { of: service, load: 'reserve', tenants: 1, usersPerTenant: 1 },
      pairs: { of: service, load: 'pairs' },
      refused: { of: service, load: 'refused' },
      mix: { of: service, load: 'mix' },
      'one-by-one': { of: oneByOne, load: 'reserve' },
    }
  const names = values.only.split(',')
  const unknown = names.filter((name) => !(name in loads))
  if (unknown.length > 0) throw new Error(`there is no load ${unknown.join(', ')}`)
  if (names.includes('half') && !names.slice(0, names.indexOf('half')).includes('reserve')) {
    throw new Error('half comes after reserve, whose rate it halves')
  }
  const last = Number(values.rounds)
  const measured: Measured[] = names.map((name) => ({ name, connections, rounds: [] }))
  for (let round = 0; round <= last; round += 1) {
    for (const one of measured) {
      say(`${connections} connections, ${round === 0 ? 'warming up' : `round ${round} of ${last}`}: ${one.name}`)
      const { of, ...load } = loads[one.name]!
      const send = (seconds: number, part: number) =>
        sendLoad({
          url: of.url,
          connections,
          seconds,
          key: KEY,
          tenants: TENANTS,
          usersPerTenant: USERS_PER_TENANT,
          run: `${round}.${part}-${one.name}-${connections}-${process.pid}`,
          ...load,
          ...(one.name === 'half' && { pauseMs: pauseFor(connections, measured) }),
        })
      // reserve warms up for half as well.
      if (round === 0 && one.name === 'half') continue
      if (round === 0) {
        for (let part = 0, sent = 0; part < WARM_PARTS_MAX && sent < WARM_REQUESTS; part += 1) {
          sent += (await send(2, part)).requests
        }
        continue
      }
      const before = { node: cpuSeconds(of.pid), postgres: cpuSeconds(setup.postgresPid) }
      const answers = await send(Number(values.seconds), 0)
      one.rounds.push({
        ...answers,
        nodeMicros: ((cpuSeconds(of.pid) - before.node) / answers.requests) * 1e6,
        postgresMicros: ((cpuSeconds(setup.postgresPid) - before.postgres) / answers.requests) * 1e6,
      })
    }
  }
  return measured
}

/** The pause with which so many connections make half of the requests that they made of the last load `reserve`. */
function pauseFor(connections: number, measured: Measured[]): number {
  const full = measured.find(({ name }) => name === 'reserve')!.rounds.at(-1)!
  return (connections * 2_000) / full.requestsPerSecond
}

/** Goes on until so many reservations are made, and looks at the memory then. */
async function fill({ pool, service, postgresPid }: Setup, reservations: number): Promise<Report['memory']> {
  const count = async () =>
    Number((await pool.query<{ n: string }>('select count(*) as n from copilot_internal.reservations')).rows[0]!.n)
  let made = await count()
  for (let part = 1; made < reservations; part += 1) {
    say(`${made} of ${reservations} reservations`)
    await sendLoad({
      url: service.url,
      load: 'reserve',
      connections: 64,
      seconds: 20,
      key: KEY,
      tenants: TENANTS,
      usersPerTenant: USERS_PER_TENANT,
      run: `fill-${part}-${process.pid}`,
    })
    made = await count()
  }
  return { reservations: made, serviceMib: residentMib(service.pid), postgresMib: proportionalMib(postgresPid) }
}
