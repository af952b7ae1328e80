import { Agent, request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

type Outgoing = {
  method: string
  path: string
  headers: Record<string, string | number>
  body?: Buffer | string | undefined
}

/** An answer with its body as text; `type` is the content type, '' if there is none. */
export type Incoming = { status: number; type: string; text: string }

/**
 * Opens a function that sends requests to a service over kept connections. They are closed when the test ends.
 *
 * @param options `connectionsMax`: the most connections; `answerMsMax`: how long to wait for an answer.
 * @returns a function that rejects with the connection's error, or if no answer comes in time.
 */
export function keepAlive(
  t: Pick<Test, 'teardown'>,
  url: string,
  { connectionsMax, answerMsMax = 15_000 }: { connectionsMax: number; answerMsMax?: number },
): (request: Outgoing) => Promise<Incoming> {
  const agent = new Agent({ keepAlive: true, maxSockets: connectionsMax })
  t.teardown(() => agent.destroy())
  return ({ method, path, headers, body }) =>
    new Promise((resolve, reject) => {
      const outgoing = httpRequest(url + path, { method, agent, headers }, (response) => {
        text(response).then((answer) => {
          resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', text: answer })
        }, reject)
      })
      outgoing.setTimeout(answerMsMax, () => outgoing.destroy(new Error(`no answer within ${answerMsMax} ms`)))
      outgoing.on('error', reject)
      outgoing.end(body)
    })
}
