import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface Proxy {
  port: number
  /** Where connections go from now on; those that stand are cut. */
  redirect(port: number): void
  /** From the next request that contains the text on, its connection's answers are kept back. */
  keepBackAnswersTo(text: string): void
  /** How many connections have an answer that is kept back. */
  keptBack(): number
  /** Requests go through, and so often their answer does not: the connection is cut in its place. 0: all answers go through. */
  cutAnswers(cut: () => boolean): void
  /** Cuts every connection, and keeps nothing back any more. */
  reset(): void
}

/** Stands between a client and a server on this machine, and looks at what passes. Closed when `t` is done. */
export async function openProxy(t: Pick<Test, 'teardown'>, targetPort: number): Promise<Proxy> {
  let target = targetPort
  let wanted: string | null = null
  let cutNext = () => false
  let kept = 0
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1')
    let keeping = false
    let counted = false
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one)
      // What breaks on one side breaks on the other; who is connected finds out.
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
    client.on('data', (chunk) => {
      if (wanted !== null && chunk.includes(wanted)) keeping = true
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (keeping) {
        if (!counted) kept += 1
        counted = true
      } else if (cutNext()) client.destroy()
      else client.write(chunk)
    })
    client.on('end', () => upstream.end())
    upstream.on('end', () => client.end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const reset = () => {
    wanted = null
    cutNext = () => false
    kept = 0
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(async () => {
    reset()
    server.close()
    await once(server, 'close')
  })
  return {
    port: (server.address() as AddressInfo).port,
    redirect: (port) => {
      target = port
      reset()
    },
    keepBackAnswersTo: (text) => (wanted = text),
    keptBack: () => kept,
    cutAnswers: (cut) => (cutNext = cut),
    reset,
  }
}

/** The same URL through a proxy. */
export function through(proxy: Proxy, url: string): string {
  return Object.assign(new URL(url), { hostname: '127.0.0.1', port: String(proxy.port) }).href.replace(/\/$/, '')
}
