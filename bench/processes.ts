import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startArguments } from '../test/helpers/servers/start-arguments.ts'

export type Running = { url: string; pid: number; startedMs: number; stop(): Promise<void> }

/** The admin key of every service that a scenario starts. */
export const KEY = 'bench-admin-key-0123456789abcdef'

const THIS_CHECKOUT = join(import.meta.dirname, '..')

/** Starts a Node process in a checkout and waits until it says where it listens. It is stopped with the stack at the latest. */
export async function startNode(
  stack: AsyncDisposableStack,
  args: string[],
  environment: Record<string, string>,
  folder = THIS_CHECKOUT,
): Promise<Running> {
  const begun = performance.now()
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  stack.defer(stop)
  const lines = createInterface({ input: child.stdout })
  const url = await Promise.race([
    new Promise<string>((resolve) => {
      lines.on('line', (line) => {
        const [, found] = /listens on (http:\S+)/.exec(line) ?? []
        if (found !== undefined) resolve(found)
      })
    }),
    once(child, 'exit').then(() => Promise.reject(new Error(`${args.join(' ')} ended before it listened`))),
  ])
  return { url, pid: child.pid!, startedMs: performance.now() - begun, stop }
}

/** Starts the service as this checkout's `npm start` does, also in another checkout, without limits on requests. */
export function startService(
  stack: AsyncDisposableStack,
  environment: Record<string, string>,
  folder?: string,
): Promise<Running> {
  const own = { PORT: '0', LOG_LEVEL: 'warn', PURSER_ADMIN_KEY: KEY }
  const unlimited = { PURSER_RATE_LIMIT_DECISIONS: '100000000', PURSER_RATE_LIMIT_READS: '100000000' }
  return startNode(stack, startArguments, { ...own, ...unlimited, ...environment }, folder)
}
