import type { TestDatabase } from './database.ts'

/**
 * Moves the clock of a test database, for every connection: new ones begin with it, and the old ones are closed, as after
 * a restart of Postgres, and gone when this returns. Null: the real time again.
 */
export async function setNow(database: TestDatabase, at: string | null): Promise<void> {
  const value = at === null ? `reset purser.fake_now` : `set purser.fake_now = '${at}'`
  await database.pool.query(`alter database ${database.name} ${value}`)
  await database.pool.query(`
    select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
  await database.pool.query(at === null ? 'reset purser.fake_now' : `set purser.fake_now = '${at}'`)
}
