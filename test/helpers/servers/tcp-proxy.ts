import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A proxy between a client and a server, with which a test can break connections. */
export interface TcpProxy {
  port: number
  /** The URL with this proxy in place of its host and port. */
  through(url: string): string
  /** Sets the target of later connections. */
  leadTo(port: number): void
  /** From now on no data passes in either direction; connections stay open without an error, and new ones are accepted. */
  silence(): void
  /** Breaks every connection, and every new one immediately. */
  cut(): void
  /** New connections work again; the old ones are closed. */
  mend(): void
  /** Called for each piece of an answer: true breaks the connection to the client instead of passing the piece on. */
  dropAnswers(drop: () => boolean): void
  /**
   * From the next request with this text on, the answers on its connection are held back. Null: no answers are held back any
   * more, and connections with such answers are broken.
   */
  keepBackAnswersTo(text: string | null): void
  /** How many pieces of answers were held back since then. */
  keptBack(): number
}

/** Resets a connection. One that is ending cannot be reset, and Node would wait for it for ever at its own end. */
function breakOff(socket: Socket): void {
  if (socket.writableEnded) socket.destroy()
  else socket.resetAndDestroy()
}

/** Listens on 127.0.0.1 and forwards to the given port there. Closed when `t` is done. */
export async function startTcpProxy(t: Test, targetPort: number): Promise<TcpProxy> {
  let target = targetPort
  let state: 'open' | 'silent' | 'cut' = 'open'
  let drop = (): boolean => false
  let wanted: string | null = null
  let kept = 0
  const keeping = new Set<Socket>()
  const sockets = new Set<Socket>()

  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      keeping.delete(socket)
    })
  }
  const server = createServer((client) => {
    keep(client)
    if (state === 'cut') return breakOff(client)
    if (state === 'silent') return
    const upstream = connect(target, '127.0.0.1')
    keep(upstream)
    const pass = (from: Socket, to: Socket, isAnswer: boolean) => {
      from.on('data', (piece) => {
        if (state === 'silent') return
        if (!isAnswer && wanted !== null && piece.includes(wanted)) keeping.add(client)
        if (isAnswer && keeping.has(client)) kept += 1
        else if (isAnswer && drop()) {
          breakOff(client)
          upstream.destroy()
        } else if (!to.destroyed) to.write(piece)
      })
      from.on('close', () => {
        if (state !== 'silent') to.destroy()
      })
    }
    pass(client, upstream, false)
    pass(upstream, client, true)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const breakAll = () => {
    for (const socket of sockets) breakOff(socket)
  }
  t.teardown(async () => {
    breakAll()
    server.close()
    await once(server, 'close')
  })
  return {
    port,
    through: (url) =>
      Object.assign(new URL(url), { hostname: '127.0.0.1', port: String(port) }).href.replace(/\/$/, ''),
    leadTo: (next) => {
      target = next
    },
    silence: () => {
      state = 'silent'
    },
    cut: () => {
      state = 'cut'
      breakAll()
    },
    mend: () => {
      state = 'open'
      breakAll()
    },
    dropAnswers: (next) => {
      drop = next
    },
    keepBackAnswersTo: (text) => {
      wanted = text
      kept = 0
      // Otherwise the pool would consist of a few such connections.
      if (text === null) for (const socket of keeping) breakOff(socket)
    },
    keptBack: () => kept,
  }
}
