import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { createInterface } from 'node:readline'
import { findFreePort } from '../../../src/embedded/free-port.ts'
import { findProgram, type Command } from './program.ts'

export interface RedisProcess {
  url: string
  pid: number
  /** Kills the server as `kill -9` does; resolves when it has ended. */
  kill(): Promise<void>
}

/** A redis-server on the PATH or from the distribution's package. @throws Error that says how to get one. */
export async function findRedisServer(): Promise<Command> {
  return findProgram('redis-server', ['redis-server', 'redis-tools'])
}

/** Starts a redis-server without files on disk, on 127.0.0.1 at `port` or a free port, with further settings. */
export async function startRedisServer(port?: number, more: string[] = []): Promise<RedisProcess> {
  const command = await findRedisServer()
  const chosen = port ?? (await findFreePort())
  const settings = [
    '--port',
    String(chosen),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--daemonize',
    'no',
    ...more,
  ]
  const child = spawn(command.path, settings, { env: command.env, cwd: tmpdir(), stdio: ['ignore', 'pipe', 'inherit'] })
  await waitUntilReady(child)
  const gone = once(child, 'exit')
  return {
    url: `redis://127.0.0.1:${chosen}`,
    pid: child.pid as number,
    kill: async () => {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await gone
    },
  }
}

function waitUntilReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const lines: string[] = []
    child.once('error', reject)
    child.once('close', (code) => reject(new Error([`redis-server ended with code ${code}`, ...lines].join('\n'))))
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (line.includes('Ready to accept connections')) resolve()
      else if (lines.length < 50) lines.push(line)
    })
  })
}
