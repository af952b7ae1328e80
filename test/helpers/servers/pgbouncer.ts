import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { findFreePort } from '../../../src/embedded/free-port.ts'
import { findProgram } from './program.ts'

export interface PgBouncer {
  /** The URL of the database through PgBouncer. */
  through(databaseUrl: string): string
  stop(): Promise<void>
}

/**
 * Starts a PgBouncer in transaction mode for the server of a database, with the settings of docs/operations.md.
 * @param serverConnectionsMax for each database; fewer than its clients use, so that they must share.
 */
export async function startPgBouncer(databaseUrl: string, serverConnectionsMax: number): Promise<PgBouncer> {
  const command = await findProgram('pgbouncer', ['pgbouncer'])
  const { hostname, port, username, password } = new URL(databaseUrl)
  const listenPort = await findFreePort()
  const folder = mkdtempSync(join(tmpdir(), 'purser-pgbouncer-'))
  const file = join(folder, 'pgbouncer.ini')
  const server = `host=${hostname} port=${port} user=${username} password=${decodeURIComponent(password)}`
  writeFileSync(
    file,
    `[databases]
* = ${server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${serverConnectionsMax}
max_client_conn = 1000
ignore_startup_parameters = statement_timeout
`,
  )
  // Under root PgBouncer runs as another user, which must be able to read the file.
  chmodSync(folder, 0o711)
  const asNobody = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const child = spawn(command.path, [...asNobody, file], { env: command.env, stdio: ['ignore', 'ignore', 'pipe'] })
  const gone = once(child, 'exit')
  await new Promise<void>((resolve, reject) => {
    const lines: string[] = []
    child.once('error', reject)
    child.once('close', (code) => reject(new Error([`pgbouncer ended with code ${code}`, ...lines].join('\n'))))
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (line.includes('process up')) resolve()
      else if (lines.length < 50) lines.push(line)
    })
  })
  return {
    through: (url) => Object.assign(new URL(url), { hostname: '127.0.0.1', port: String(listenPort) }).href,
    stop: async () => {
      child.kill('SIGKILL')
      await gone
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
