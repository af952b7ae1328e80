import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { findFreePort } from '../../src/embedded/free-port.ts'

const run = promisify(execFile)
const cacheFolder = join(import.meta.dirname, '..', '..', '.cache')
const unpackedFolder = join(cacheFolder, 'redis')

/** How to start a redis-server: its path, and the libraries that come with it. */
export interface RedisCommand {
  path: string
  env: NodeJS.ProcessEnv
}

export interface RedisProcess {
  url: string
  pid: number
  /** Ends it at once, as `kill -9` does; resolves once it is gone. */
  kill(): Promise<void>
}

/**
 * A redis-server on the PATH, or else the distribution's package unpacked into `.cache/redis` (Debian and its kin;
 * nothing is installed on the system).
 * @throws Error that tells how to get one.
 */
export async function findRedisServer(): Promise<RedisCommand> {
  const onPath = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'redis-server'))
    .find(isExecutable)
  if (onPath) return { path: onPath, env: process.env }
  try {
    if (!existsSync(unpackedFolder)) await unpackPackages()
    const path = join(unpackedFolder, 'usr', 'bin', 'redis-server')
    return { path, env: { ...process.env, LD_LIBRARY_PATH: libraryFolders().join(delimiter) } }
  } catch (cause) {
    throw new Error(
      `The tests need a Redis: set REDIS_URL, or put a redis-server on the PATH (${(cause as Error).message})`,
      { cause },
    )
  }
}

/** Starts a redis-server that keeps nothing on disk, on 127.0.0.1 at a free port, or at `port`. */
export async function startRedisServer(port?: number): Promise<RedisProcess> {
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

async function unpackPackages(): Promise<void> {
  mkdirSync(cacheFolder, { recursive: true })
  const draft = mkdtempSync(join(cacheFolder, 'redis-'))
  try {
    const options = { cwd: draft }
    const download = async () => run('apt-get', ['download', ...(await neededPackages())], options)
    // The first try fails where the package lists are missing or name versions that are gone.
    await download().catch(async () => {
      await run('apt-get', ['update'], options)
      await download()
    })
    for (const file of readdirSync(draft).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', file, '.'], options)
      rmSync(join(draft, file))
    }
    renameSync(draft, unpackedFolder)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** Redis and the libraries it needs that this system does not have. */
async function neededPackages(): Promise<string[]> {
  const kinds = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`)
  const { stdout: dependencies } = await run('apt-cache', ['depends', '--recurse', ...kinds, 'redis-server'])
  const { stdout: installed } = await run('dpkg-query', ['--show'])
  const present = new Set(installed.split('\n').map((line) => line.split(/[:\t]/)[0]))
  const libraries = dependencies
    .split('\n')
    .filter((name) => /^(lib|lua)[a-z0-9.+-]+$/.test(name) && !present.has(name))
  return ['redis-server', 'redis-tools', ...new Set(libraries)]
}

function libraryFolders(): string[] {
  return ['lib', 'usr/lib']
    .map((folder) => join(unpackedFolder, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => [
      folder,
      ...readdirSync(folder)
        .filter((name) => name.includes('-linux-gnu'))
        .map((name) => join(folder, name)),
    ])
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
