import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Test } from 'tap'

/** The database of one test file. */
export interface TestDatabase {
  url: string
  name: string
  /** Connects when first used; closed before the database is dropped. */
  pool: pg.Pool
}

/**
 * A clone of the template: migrated and seeded, with a clock that tests can move (fake-clock.ts).
 *
 * Dropped, with all connections to it, when `t` is done.
 */
export function createDatabase(t: Test): Promise<TestDatabase> {
  return makeDatabase(t, required('TEST_TEMPLATE_DATABASE'))
}

/** An empty database, for tests of migrations. Dropped when `t` is done. */
export function createEmptyDatabase(t: Test): Promise<TestDatabase> {
  return makeDatabase(t, 'template0')
}

async function makeDatabase(t: Test, template: string): Promise<TestDatabase> {
  const name = `purser_test_${randomBytes(6).toString('hex')}`
  await runMaintenance(`create database ${name} template ${template}`)
  const url = new URL(required('TEST_DATABASE_URL'))
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href })
  t.teardown(async () => {
    await pool.end()
    await dropDatabase(name)
  })
  return { url: url.href, name, pool }
}

async function dropDatabase(name: string): Promise<void> {
  try {
    // Postgres waits up to 5 s for connections that are closing; `force` would end them with an error that no listener handles.
    await runMaintenance(`drop database ${name}`)
  } catch (error) {
    const objectInUse = '55006'
    if ((error as { code?: string }).code !== objectInUse) throw error
    await runMaintenance(`drop database ${name} with (force)`)
  }
}

async function runMaintenance(statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: required('TEST_DATABASE_URL') })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

function required(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run tests with "npm test" (one file: npm test -- test/…/x.test.ts)`)
  return value
}
