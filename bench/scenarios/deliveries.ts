import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import type pg from 'pg'
import { countBrokenInvariants, openPool, startPostgres } from '../database.ts'
import { timed } from '../figures.ts'
import { KEY, startService } from '../processes.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

const POLL_MS = 50

export const scenario = defineScenario({
  help: `How fast events are delivered. Writes events to the outbox and lets one instance of the service deliver them, signed, to
webhooks on this machine. Postgres flushes to disk; the receivers run in this process.`,
  options: {
    events: [10_000, 'events'],
    endpoints: [4, 'endpoints, each of which gets every event'],
    dead: [false, 'one more endpoint, which never answers'],
  },
  async run(stack, { events, endpoints, dead }) {
    const { databaseUrl } = await startPostgres(stack)
    const service = await startService(stack, {
      DATABASE_URL: databaseUrl,
      PURSER_WEBHOOK_PRIVATE_TARGETS: '127.0.0.1',
    })
    const pool = openPool(stack, databaseUrl)
    const receiver = await startReceiver(stack)
    const paths = [...Array.from({ length: endpoints }, (_, n) => `/${n}`), ...(dead ? ['/dead'] : [])]
    for (const path of paths) {
      const made = await fetch(`${service.url}/v1/webhook-endpoints`, {
        method: 'POST',
        headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify({ kind: 'webhook', url: receiver + path, types: [] }),
      })
      if (made.status !== 201) throw new Error(await made.text())
    }
    say(`delivering ${events} events to ${paths.length} endpoints`)
    const seconds = (await timed(() => deliver(pool, events, endpoints))) / 1_000
    const deliveriesPerSecond = (events * endpoints) / seconds
    return { seconds, deliveriesPerSecond, brokenInvariants: await countBrokenInvariants(pool) }
  },
  print: ({ seconds, deliveriesPerSecond, brokenInvariants }, { events, endpoints, dead }) => [
    `${events} events to ${endpoints} endpoints${dead ? ', one more is dead' : ''}: ${seconds.toFixed(1)} s, ` +
      `${deliveriesPerSecond.toFixed(0)} deliveries/s; broken invariants: ${brokenInvariants}`,
  ],
})

/** An HTTP server that accepts every request, except those for /dead, which it never answers. Answers its URL. */
async function startReceiver(stack: AsyncDisposableStack): Promise<string> {
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
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Writes the events and waits until every endpoint that answers has all of them. */
async function deliver(pool: pg.Pool, events: number, endpoints: number): Promise<void> {
  await pool.query(
    // quota.warning has priority 0: unlike events that may wait, it may use all of an endpoint's attempts.
    `insert into copilot_internal.quota_events (event_id, type, created_at, once_key, data)
     select copilot_internal.uuid_v7(now.at), 'quota.warning', now.at, 'bench ' || n, '{}'
     from generate_series(1, $1::integer) n cross join (select copilot_internal.clock_now() as at) now`,
    [events],
  )
  for (;;) {
    const { rows } = await pool.query<{ n: number }>(
      `select count(*)::integer as n from copilot_internal.webhook_deliveries where status = 'delivered'`,
    )
    if (rows[0]!.n >= events * endpoints) return
    await wait(POLL_MS)
  }
}
