import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { findFreePort } from '../src/embedded/free-port.ts'
import { startArguments } from '../test/helpers/servers/start-arguments.ts'

const READY_MS_MAX = 120_000
const REQUEST_MS_MAX = 5_000
const POLL_MS = 50
// The service itself drains for up to 15 s before it stops.
const STOP_MS_MAX = 20_000
const REMOVE_MS_MAX = 10_000
const LINES_MAX = 10
const LINE_CHARACTERS_MAX = 500

/** Settings that would point the service to other data. */
const OTHERS_SETTINGS = /^(?:PURSER_.*|DATABASE_URL.*|REDIS_URL.*|HOST|PORT)$/

/** The demo's own service: the real process, with an embedded Postgres in a temporary folder. */
export type OwnService = {
  url: string
  adminKey: string
  /** The URL of the embedded Postgres, as its owner. */
  databaseUrl(): string
  /** Stops the process by its id and removes the folder. May be called at any time. */
  stop(): Promise<void>
  /** The last lines that the process printed. */
  words(): string
  /** Resolves once the service can decide. @throws Error if it ends, or is not ready within 120 s. */
  ready(signal: AbortSignal): Promise<void>
}

/** Starts the service as `npm start` does. */
export async function startOwnService(): Promise<OwnService> {
  const port = await findFreePort()
  const dataDir = mkdtempSync(join(tmpdir(), 'purser-demo-'))
  const adminKey = randomBytes(24).toString('base64url')
  const environment = Object.entries(process.env).filter(([name]) => !OTHERS_SETTINGS.test(name))
  const child = spawn(process.execPath, startArguments, {
    cwd: join(import.meta.dirname, '..'),
    env: {
      ...Object.fromEntries(environment),
      LOG_LEVEL: 'warn',
      PORT: String(port),
      PURSER_DATA_DIR: dataDir,
      PURSER_ADMIN_KEY: adminKey,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // Own process group: Ctrl-C in a terminal signals the whole group of the demo. The demo stops the service itself,
    // once its own requests have ended.
    detached: true,
  })
  const url = `http://127.0.0.1:${port}`
  const words = listenTo(child)
  return {
    url,
    adminKey,
    databaseUrl: () => databaseUrlOf(dataDir),
    stop: async () => {
      await end(child)
      await removeFolder(dataDir)
    },
    words,
    ready: (signal) => waitUntilReady(child, url, signal),
  }
}

/**
 * Keeps the last lines that the process printed. It reads all the time, because a full pipe would block the process.
 */
function listenTo(child: ChildProcess): () => string {
  const lines: string[] = []
  for (const input of [child.stdout!, child.stderr!]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line.slice(0, LINE_CHARACTERS_MAX))
      if (lines.length > LINES_MAX) lines.shift()
    })
  }
  return () => lines.join('\n')
}

async function waitUntilReady(child: ChildProcess, url: string, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + READY_MS_MAX
  for (;;) {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(REQUEST_MS_MAX) }).catch(() => null)
    if (answer?.ok) return
    signal.throwIfAborted()
    if (!isRunning(child)) throw new Error('the service ended before it was ready')
    if (Date.now() > deadline) throw new Error(`the service was not ready within ${READY_MS_MAX} ms`)
    await delay(POLL_MS, undefined, { signal })
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

async function end(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
  await gone
  clearTimeout(timer)
}

/**
 * Retries, because a Postgres whose service was stopped during its start ends a little later and writes until then.
 */
async function removeFolder(folder: string): Promise<void> {
  const deadline = Date.now() + REMOVE_MS_MAX
  for (;;) {
    rmSync(folder, { recursive: true, force: true })
    await delay(POLL_MS)
    if (!existsSync(folder)) return
    if (Date.now() > deadline) throw new Error(`${folder} could not be removed`)
  }
}

/**
 * Builds the owner's URL: the password is in the data folder, the port in the fourth line of the server's pid file.
 */
function databaseUrlOf(dataDir: string): string {
  const password = readFileSync(join(dataDir, 'password'), 'utf8')
  const port = readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[3]
  return `postgres://purser:${password}@127.0.0.1:${port}/purser`
}
