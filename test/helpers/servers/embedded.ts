import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Test } from 'tap'

/** A folder outside the checkout, which other users can reach once its mode allows it; removed when `t` is done. */
export function makeDataDir(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'purser-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Runs one statement on a new connection and returns the first row. */
export async function queryOnce(databaseUrl: string, statement: string): Promise<Record<string, unknown> | undefined> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows } = await client.query<Record<string, unknown>>(statement)
    return rows[0]
  } finally {
    await client.end()
  }
}
