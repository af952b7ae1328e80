// How fast events are delivered: npm run bench:deliveries. It prints; it never fails for a time.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { startService } from './processes.ts'
import { onStage, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:deliveries -- [options]

Writes events to the outbox and has one instance of the service deliver them to webhooks on this machine, signed, with an
embedded Postgres that flushes to disk. The receivers run in this process.

Options
  --events N      events (default 10000)
  --endpoints N   endpoints, each of which gets every event (default 4)
  --dead          one endpoint more, which never answers
  --json          the figures as JSON
  --help          this text
`

const ADMIN_KEY = 'bench-admin-key-0123456789'
const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '10000' },
    endpoints: { type: 'string', default: '4' },
    dead: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) process.stdout.write(help)
else report(await onStage(measure))

type Figures = {
  events: number
  endpoints: number
  seconds: number
  deliveriesASecond: number
  brokenInvariants: number
}

async function measure(stack: AsyncDisposableStack): Promise<Figures> {
  const [events, endpoints] = [Number(values.events), Number(values.endpoints)]
  const { databaseUrl } = await startPostgres(stack)
  const service = await startService({
    DATABASE_URL: databaseUrl,
    PURSER_ADMIN_KEY: ADMIN_KEY,
    PURSER_WEBHOOK_PRIVATE_TARGETS: '127.0.0.1',
  })
  stack.defer(() => service.stop())
  const pool = new pg.Pool({ connectionString: databaseUrl })
  stack.defer(() => pool.end())
  const server = createServer((request, response) => {
    request.resume()
    if (request.url !== '/dead') request.on('end', () => response.end())
  })
  stack.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const paths = [...Array.from({ length: endpoints }, (_, n) => `/${n}`), ...(values.dead ? ['/dead'] : [])]
  for (const path of paths) {
    const made = await fetch(`${service.url}/v1/webhook-endpoints`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ kind: 'webhook', url: `http://127.0.0.1:${port}${path}`, types: [] }),
    })
    if (made.status !== 201) throw new Error(await made.text())
  }
  const begun = performance.now()
  await pool.query(
    // As seldom events are told: what can wait leaves an endpoint's other half of attempts free.
    `insert into copilot_internal.quota_events (event_id, type, created_at, once_key, data)
     select copilot_internal.uuid_v7(now.at), 'quota.warning', now.at, 'bench ' || n, '{}'
     from generate_series(1, $1::integer) n cross join (select copilot_internal.clock_now() as at) now`,
    [events],
  )
  while ((await delivered(pool)) < events * endpoints) await new Promise((resolve) => setTimeout(resolve, 50))
  const seconds = (performance.now() - begun) / 1_000
  const { rows: broken } = await pool.query('select from copilot_internal.check_integrity()')
  return {
    events,
    endpoints,
    seconds,
    deliveriesASecond: (events * endpoints) / seconds,
    brokenInvariants: broken.length,
  }
}

async function delivered(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(
    `select count(*)::integer as n from copilot_internal.webhook_deliveries where status = 'delivered'`,
  )
  return rows[0]!.n
}

function report(figures: Figures): void {
  if (values.json) {
    process.stdout.write(`${JSON.stringify(figures)}\n`)
    return
  }
  const { events, endpoints, seconds, deliveriesASecond, brokenInvariants } = figures
  process.stdout.write(
    `${events} events to ${endpoints} endpoints${values.dead ? ', one more is dead' : ''}: ${seconds.toFixed(1)} s, ` +
      `${Math.round(deliveriesASecond)} deliveries/s; ${brokenInvariants} broken invariants\n` +
      `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}\n`,
  )
}
