import type { TestDatabase } from './database.ts'

/**
 * The tests' clock as SQL: a session's own `purser.fake_now`, else `at`, else the real time.
 *
 * The time of a whole database is part of the function, not a setting of the database, because a connection that is just
 * being opened has already read the settings and would keep the earlier time.
 */
export function fakeClock(at: string | null): string {
  const others = at === null ? 'clock_timestamp()' : `timestamptz '${at}'`
  return `
    create or replace function copilot_internal.clock_now() returns timestamptz
    language sql volatile parallel safe
    set search_path = pg_catalog, pg_temp
    as $$ select coalesce(nullif(current_setting('purser.fake_now', true), '')::timestamptz, ${others}) $$`
}

/** Sets the clock of a test database for every later statement. Null: the real time again. */
export async function setNow(database: TestDatabase, at: string | null): Promise<void> {
  await database.pool.query(fakeClock(at))
}
