import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startArguments } from '../test/helpers/servers/start-arguments.ts'

export type Running = { url: string; pid: number; startedMs: number; stop(): Promise<void> }

/** This project's. */
const FOLDER = join(import.meta.dirname, '..')

/** Starts a Node process of this project, or of another checkout of it, and waits until it says where it listens. */
export async function startNode(
  args: string[],
  environment: Record<string, string>,
  folder = FOLDER,
): Promise<Running> {
  const begun = performance.now()
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
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
  return {
    url,
    pid: child.pid!,
    startedMs: performance.now() - begun,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

/** Starts the service as `npm start` of this project does, also where it is another checkout's. */
export function startService(environment: Record<string, string>, folder = FOLDER): Promise<Running> {
  return startNode(startArguments, { PORT: '0', LOG_LEVEL: 'warn', ...environment }, folder)
}
