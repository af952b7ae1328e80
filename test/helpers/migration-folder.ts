import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'

export interface MigrationFolder {
  folder: string
  write(file: string, sql: string): void
  remove(file: string): void
}

/** A folder with the given migrations; keys are paths in it. Removed when `t` is done. */
export function makeMigrationFolder(t: Test, files: Record<string, string>): MigrationFolder {
  const folder = mkdtempSync(join(tmpdir(), 'purser-migrations-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const write = (file: string, sql: string) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), sql)
  }
  for (const [file, sql] of Object.entries(files)) write(file, sql)
  return { folder, write, remove: (file) => rmSync(join(folder, file)) }
}
