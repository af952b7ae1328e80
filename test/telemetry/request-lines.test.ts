import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { ADMIN_KEY, startService } from '../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url, { LOG_LEVEL: 'info' })

/** The log lines of a request. Polls until there is one; the test's timeout bounds the wait. */
async function linesOf(requestId: string): Promise<Record<string, unknown>[]> {
  for (;;) {
    const lines = service
      .output()
      .split('\n')
      .filter((line) => line.includes(`"${requestId}"`))
    if (lines.length > 0) return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    await service.call('GET', '/healthz')
  }
}

t.test('each request logs one line with its method, path, status and duration', async (t) => {
  await service.call('GET', '/v1/quotas?limit=1', undefined, { 'x-request-id': 'a-read' })
  await service.call('GET', '/v1/nothing', undefined, { 'x-request-id': 'no-route' })
  t.match(await linesOf('a-read'), [
    {
      level: 30,
      req: { method: 'GET', url: '/v1/quotas?limit=1', remoteAddress: '127.0.0.1' },
      res: { statusCode: 200 },
      responseTime: Number,
      msg: 'request',
    },
  ])
  t.match(await linesOf('no-route'), [{ req: { url: '/v1/nothing' }, res: { statusCode: 404 } }])
  for (const id of ['a-read', 'no-route']) t.equal((await linesOf(id)).length, 1)
})

t.test('a request whose caller disconnects before the answer logs a line too', async (t) => {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  socket.write(
    'POST /v1/reservations HTTP/1.1\r\nhost: purser\r\nx-request-id: gone\r\ncontent-type: application/json\r\n',
  )
  socket.write(`authorization: Bearer ${ADMIN_KEY}\r\ncontent-length: 99\r\n\r\n{`)
  await service.call('GET', '/healthz')
  socket.destroy()
  const [line, ...more] = await linesOf('gone')
  t.match(line, {
    level: 30,
    req: { method: 'POST', url: '/v1/reservations' },
    msg: 'request: the caller disconnected before the answer',
  })
  t.same(more, [])
})
