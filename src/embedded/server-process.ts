import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { serverEnvironment } from './cluster.ts'
import { serverUser } from './server-user.ts'

// Recovery after a crash replays at most a few checkpoints' worth of log.
const readyWithinMs = 120_000
const fastShutdownMs = 30_000
const tailLinesMax = 20

/** A running server: its pid, and how to stop it. */
export interface ServerProcess {
  pid: number
  /** Fast shutdown: open transactions are rolled back; after 30 s an immediate one. Resolves once the process is gone. */
  stop(): Promise<void>
}

/**
 * Starts `postgres` on a cluster and resolves once it accepts connections.
 * @throws Error with the last lines that it wrote, when it ends or is not ready within 120 s.
 */
export async function startServerProcess(options: {
  binaries: string
  cluster: string
  settings: Record<string, string>
  log: (line: string) => void
}): Promise<ServerProcess> {
  const { binaries, cluster, settings, log } = options
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  // In its own process group: Ctrl-C in a terminal reaches the whole group of Node, and the server must run until our
  // own close is done.
  const child = spawn(join(binaries, 'bin', 'postgres'), ['-D', cluster, ...flags], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: serverEnvironment,
    cwd: cluster,
    ...serverUser(),
  })
  const gone = once(child, 'exit')
  const stopAtExit = () => child.kill('SIGINT')
  process.once('exit', stopAtExit)
  void gone.then(
    () => process.off('exit', stopAtExit),
    () => process.off('exit', stopAtExit),
  )
  await waitUntilReady(child, log)
  return { pid: child.pid as number, stop: () => stop(child, gone) }
}

async function waitUntilReady(child: ChildProcess, log: (line: string) => void): Promise<void> {
  const tail: string[] = []
  await new Promise<void>((resolve, reject) => {
    const fail = (what: string) => {
      clearTimeout(timer)
      reject(new Error([`Postgres ${what}`, ...tail].join('\n')))
    }
    const timer = setTimeout(() => {
      child.kill('SIGQUIT')
      fail(`was not ready within ${readyWithinMs} ms`)
    }, readyWithinMs)
    child.once('error', (error) => fail(`did not start: ${error.message}`))
    child.once('close', (code, signal) => fail(`ended with ${signal ?? `code ${code}`}`))
    // Reading goes on after the start: a full pipe would block the server.
    createInterface({ input: child.stderr! }).on('line', (line) => {
      log(line)
      tail.push(line)
      if (tail.length > tailLinesMax) tail.shift()
      if (!line.includes('database system is ready to accept connections')) return
      clearTimeout(timer)
      resolve()
    })
  })
}

async function stop(child: ChildProcess, gone: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGINT')
  const timer = setTimeout(() => child.kill('SIGQUIT'), fastShutdownMs)
  await gone
  clearTimeout(timer)
}
