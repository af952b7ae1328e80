import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { startRedisServer } from '../helpers/servers/redis-server.ts'
import { createTemplate, dropTemplate } from '../helpers/template.ts'

const root = join(import.meta.dirname, '..', '..')

/** What all files of a run share. */
export interface Servers {
  /** The environment of the test files. */
  env: NodeJS.ProcessEnv
  /** Stops what was started; answers what could not be stopped. */
  stop(): Promise<unknown[]>
}

/**
 * Starts one Postgres with the template database and one Redis, or takes those of TEST_DATABASE_URL and REDIS_URL.
 *
 * @param durable whether Postgres writes to disk before it answers; a test of a crash starts a server of its own.
 */
export async function startServers(durable: boolean): Promise<Servers> {
  const cleanups: (() => unknown)[] = []
  const stop = async () => {
    const errors: unknown[] = []
    for (const cleanup of cleanups.toReversed()) {
      try {
        await cleanup()
      } catch (error) {
        errors.push(error)
      }
    }
    return errors
  }
  try {
    const folder = provideFolder(cleanups)
    const databaseUrl = await providePostgres(join(folder, 'postgres'), durable, cleanups)
    const env = {
      ...process.env,
      // What an interrupted test leaves behind goes with the run.
      TMPDIR: join(folder, 'tmp'),
      TEST_DATABASE_URL: databaseUrl,
      TEST_TEMPLATE_DATABASE: await provideTemplate(databaseUrl, cleanups),
      REDIS_URL: await provideRedis(cleanups),
      // Each file and each service that it starts load the same modules: Node compiles them once.
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? join(root, '.cache', 'compiled'),
    }
    return { env, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A folder for all that the run writes, outside the checkout; the servers' users pass through it. */
function provideFolder(cleanups: (() => unknown)[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'purser-test-'))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o711)
  mkdirSync(join(folder, 'tmp'), { mode: 0o711 })
  return folder
}

async function providePostgres(dataDir: string, durable: boolean, cleanups: (() => unknown)[]): Promise<string> {
  if (process.env['TEST_DATABASE_URL']) return process.env['TEST_DATABASE_URL']
  const fast = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }
  const settings = { max_connections: '500', ...(durable ? {} : fast) }
  const postgres = await startEmbeddedPostgres({ dataDir, settings })
  cleanups.push(() => postgres.stop())
  return postgres.databaseUrl
}

async function provideRedis(cleanups: (() => unknown)[]): Promise<string> {
  if (process.env['REDIS_URL']) return process.env['REDIS_URL']
  const redis = await startRedisServer()
  cleanups.push(() => redis.kill())
  return redis.url
}

async function provideTemplate(databaseUrl: string, cleanups: (() => unknown)[]): Promise<string> {
  const name = `purser_template_${randomBytes(6).toString('hex')}`
  await createTemplate(databaseUrl, name)
  cleanups.push(() => dropTemplate(databaseUrl, name))
  return name
}
