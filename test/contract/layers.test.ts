// The arrows between the layers of src/ are in .dependency-cruiser.mjs. Here: that its rules bite.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const root = join(import.meta.dirname, '..', '..')

/** Imports as a file of a layer could have them, and the rule that refuses them; null where they are allowed. */
const planted: [file: string, code: string, rule: string | null][] = [
  ['src/services/costs/up.ts', `import { a } from '../../http/thing.ts'`, 'services-imports'],
  ['src/services/re-export.ts', `export * from '../http/thing.ts'`, 'services-imports'],
  ['src/db/dynamic.ts', `void import('../services/thing.ts')`, 'db-imports'],
  ['src/db/for-its-effects.ts', `import '../services/thing.ts'`, 'db-imports'],
  ['src/schemas/type.ts', `import type { A } from '../db/thing.ts'`, 'schemas-imports'],
  ['src/errors.ts', `import { a } from './domain/thing.ts'`, 'errors-imports'],
  ['src/domain/usage/forms/deep.ts', `import { a } from '../../../errors.ts'`, 'domain-imports'],
  ['src/http/value.ts', `import { a } from '../cache/thing.ts'`, 'http-types-of-cache'],
  ['src/http/allowed-type.ts', `import type { A } from '../cache/thing.ts'`, null],
  ['src/services/allowed.ts', `import { a } from '../db/thing.ts'`, null],
  ['src/services/costs/own.ts', `import { a } from '../allowed.ts'`, null],
  ['src/cli/test.ts', `import { a } from '../../test/thing.ts'`, 'cli-imports'],
  ['src/services/postgres.ts', `import pg from 'pg'`, 'only-db-and-embedded-names-postgres'],
  ['src/jobs/kysely.ts', `import type { Kysely } from 'kysely'`, 'only-db-and-embedded-names-postgres'],
  ['src/db/pool/postgres.ts', `import pg from 'pg'`, null],
  ['src/http/redis.ts', `import { Redis } from 'ioredis'`, 'only-cache-names-redis'],
  ['src/http/traced.ts', `import { trace } from '@opentelemetry/api'`, 'only-telemetry-names-opentelemetry'],
  ['src/domain/io.ts', `import { readFileSync } from 'node:fs'`, 'domain-does-no-input-or-output'],
  ['src/client/package.ts', `import Big from 'big.js'`, 'client-imports-no-package'],
  ['src/new-room/thing.ts', `import { a } from '../errors.ts'`, 'every-folder-is-a-layer'],
  ['src/domain/one.ts', `import { a } from './other.ts'`, 'no-circles'],
]

const targets = ['http', 'services', 'db', 'domain', 'cache'].map((layer) => `src/${layer}/thing.ts`)

interface Report {
  summary: { violations: { from: string; rule: { name: string } }[] }
}

t.test('an import against the arrows is refused, and one along them passes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'purser-layers-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const write = (file: string, code: string) => {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), `${code}\n`)
  }
  for (const file of [...targets, 'test/thing.ts']) write(file, 'export const a = 1')
  write('src/domain/other.ts', `import { a } from './one.ts'`)
  for (const [file, code] of planted) write(file, code)

  const depcruise = join(root, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruiser.mjs')
  const args = [depcruise, '--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'json', 'src']
  // The test runner puts hooks of its own into every process that a test starts; they are not for this one.
  const { stdout } = await promisify(execFile)('env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], {
    cwd: folder,
    maxBuffer: 16 * 1024 * 1024,
  })
  const { violations } = (JSON.parse(stdout) as Report).summary
  for (const [file, code, rule] of planted) {
    const refusedBy = violations.filter(({ from }) => from === file).map((violation) => violation.rule.name)
    t.same([...new Set(refusedBy)], rule === null ? [] : [rule], `${file}: ${code}`)
  }
})
