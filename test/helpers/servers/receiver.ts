import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

export type Received = { path: string; headers: IncomingHttpHeaders; body: string }

export interface Receiver {
  url: string
  received: Received[]
  /** Resolves when this many requests have come. */
  has(count: number): Promise<void>
  /** Sets the answer to later requests; 200 by default. */
  answer: (response: ServerResponse, request: Received) => void
}

/** A real HTTP server on 127.0.0.1 that records its requests. Closed with its connections when `t` is done. */
export async function startReceiver(t: Pick<Test, 'teardown'>): Promise<Receiver> {
  const waiting: { count: number; resolve: () => void }[] = []
  const receiver: Receiver = {
    url: '',
    received: [],
    answer: (response) => response.end('ok'),
    has: (count) =>
      new Promise((resolve) => {
        if (receiver.received.length >= count) resolve()
        else waiting.push({ count, resolve })
      }),
  }
  const receive = async (request: IncomingMessage, response: ServerResponse) => {
    const received = { path: request.url!, headers: request.headers, body: await text(request) }
    receiver.received.push(received)
    receiver.answer(response, received)
    for (const { count, resolve } of waiting) if (receiver.received.length >= count) resolve()
  }
  const server = createServer((request, response) => {
    // If the sender disconnects during its request, the request does not count as received.
    receive(request, response).catch(() => {})
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  return receiver
}
