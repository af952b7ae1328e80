import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import { fakeClock } from './fake-clock.ts'

/**
 * Makes the template database, of which each test file gets a clone: migrated, seeded, with the tests' clock.
 * @param serverUrl any database of the server.
 */
export async function createTemplate(serverUrl: string, name: string): Promise<void> {
  await query(serverUrl, `create database ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  await migrateUp(url.href, () => {})
  await seed(url.href)
  await query(url.href, fakeClock(null))
}

export async function dropTemplate(serverUrl: string, name: string): Promise<void> {
  await query(serverUrl, `drop database ${name} with (force)`)
}

async function seed(url: string): Promise<void> {
  const file = join(import.meta.dirname, '..', '..', 'src', 'prices', 'seed.ts')
  if (!existsSync(file)) return
  const { seedPrices } = (await import(pathToFileURL(file).href)) as {
    seedPrices: (db: Kysely<unknown>) => Promise<void>
  }
  const db = new Kysely<unknown>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 1 }) }),
  })
  try {
    await seedPrices(db)
  } finally {
    await db.destroy()
  }
}

async function query(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
