import { chmodSync, mkdirSync, realpathSync, statSync } from 'node:fs'
import pg from 'pg'
import { locateBinaries } from './binaries.ts'
import { ensureCluster, superuser } from './cluster.ts'
import { findFreePort } from './free-port.ts'
import { stopOrphan } from './orphan.ts'
import { acquireOwnerLock } from './owner-lock.ts'
import { startServerProcess, type ServerProcess } from './server-process.ts'
import { firstClosedFolder, isRoot } from './server-user.ts'

export { defaultDataDir } from './data-dir.ts'

const databaseName = 'purser'
const portAttemptsMax = 3

export interface EmbeddedPostgresOptions {
  /** The folder that keeps the database; made when missing. */
  dataDir: string
  /** Settings of postgresql.conf that replace ours. The service passes none that weaken durability. */
  settings?: Record<string, string>
  /** Receives each line that the server writes. */
  log?: (line: string) => void
}

export interface EmbeddedPostgres {
  databaseUrl: string
  pid: number
  /** Stops the server and unlocks the data folder. May be called twice. */
  stop(): Promise<void>
}

/**
 * Starts the embedded Postgres on 127.0.0.1 at a free port, with the database `purser`.
 *
 * Every commit is on disk before it is answered (fsync and synchronous_commit on). A server that a killed
 * owner left behind on the same folder is stopped first. As root the server runs as uid 65534.
 * @throws Error when another live process owns the folder; when no binaries are installed for this system;
 * when the server's user cannot enter the folder; with the last lines of the server's output when it does not start.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const log = options.log ?? (() => {})
  const dataDir = prepareDataDir(options.dataDir)
  const release = acquireOwnerLock(dataDir)
  try {
    const binaries = locateBinaries()
    const { folder: cluster, password } = await ensureCluster(dataDir, binaries, options.settings?.['fsync'] !== 'off')
    await stopOrphan(cluster, log)
    const { server, port } = await startOnFreePort({ binaries, cluster, settings: options.settings ?? {}, log })
    const urlOf = (database: string) => `postgres://${superuser}:${password}@127.0.0.1:${port}/${database}`
    try {
      await ensureDatabase(urlOf('postgres'))
    } catch (error) {
      await server.stop()
      throw error
    }
    const stop = async () => {
      await server.stop()
      release()
    }
    return { databaseUrl: urlOf(databaseName), pid: server.pid, stop }
  } catch (error) {
    release()
    throw error
  }
}

/** Returns the real path: the server's command line holds it, and the next start must find the same text there. */
function prepareDataDir(dataDir: string): string {
  mkdirSync(dataDir, { recursive: true, mode: isRoot() ? 0o755 : 0o700 })
  const folder = realpathSync(dataDir)
  // The server's user passes through our folder to the cluster, which is closed to all others.
  if (firstClosedFolder(folder) === folder) chmodSync(folder, statSync(folder).mode | 0o011)
  const closed = firstClosedFolder(folder)
  if (closed) {
    throw new Error(
      `The data folder ${folder} cannot be used by root: Postgres runs as another user, who cannot enter ${closed}`,
    )
  }
  return folder
}

async function startOnFreePort(
  options: Parameters<typeof startServerProcess>[0],
): Promise<{ server: ServerProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort()
    const settings = {
      fsync: 'on',
      synchronous_commit: 'on',
      ...options.settings,
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
    }
    try {
      return { server: await startServerProcess({ ...options, settings }), port }
    } catch (error) {
      const taken = (error as Error).message.includes('could not create any TCP/IP sockets')
      if (!taken || attempt === portAttemptsMax) throw error
    }
  }
}

async function ensureDatabase(maintenanceUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: maintenanceUrl })
  await client.connect()
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [databaseName])
    if (rowCount === 0) await client.query(`create database ${databaseName}`)
  } finally {
    await client.end()
  }
}
