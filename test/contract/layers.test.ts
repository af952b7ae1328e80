// The arrows between the layers of src/, and that the lint rule of each layer bites.
// Every import that could be written is planted in a temporary tree; the linter must refuse exactly what the table refuses.

import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..', '..')

/** What a layer may import of ours, beside its own folder; `types`: only with `import type`. */
interface Layer {
  imports: string[]
  types?: string[]
  packages?: string[]
  /** A file, not a folder. */
  file?: true
  /** Imports no package at all. */
  closed?: true
}

const leaves = ['domain', 'errors']
const layers: Record<string, Layer> = {
  errors: { imports: [], file: true },
  config: { imports: leaves, file: true },
  domain: { imports: [] },
  schemas: { imports: leaves },
  db: { imports: leaves, packages: ['pg', 'kysely'] },
  cache: { imports: [...leaves, 'db'], packages: ['ioredis'] },
  prices: { imports: [...leaves, 'db'] },
  delivery: { imports: leaves },
  exports: { imports: leaves },
  telemetry: { imports: ['errors', 'db'], types: ['config'], packages: ['@opentelemetry/api'] },
  embedded: { imports: ['errors'], types: ['config'], packages: ['pg', 'kysely'] },
  services: {
    imports: [...leaves, 'schemas', 'db', 'cache', 'prices', 'delivery', 'exports', 'telemetry'],
    types: ['config'],
  },
  http: { imports: [...leaves, 'schemas', 'services', 'db', 'telemetry'], types: ['config', 'cache'] },
  jobs: { imports: [...leaves, 'services', 'telemetry'], types: ['config', 'db'] },
  cli: { imports: [...leaves, 'services', 'config', 'db', 'embedded', 'prices', 'app'] },
  app: {
    imports: [
      ...leaves,
      'config',
      'schemas',
      'http',
      'services',
      'db',
      'cache',
      'prices',
      'delivery',
      'exports',
      'jobs',
      'telemetry',
    ],
    file: true,
  },
  server: {
    imports: [
      ...leaves,
      'app',
      'config',
      'services',
      'db',
      'cache',
      'prices',
      'delivery',
      'exports',
      'jobs',
      'telemetry',
      'embedded',
    ],
    file: true,
  },
  client: { imports: [], closed: true },
}
const guardedPackages = ['pg', 'pg/lib/client.js', 'kysely', 'kysely/migration', 'ioredis', '@opentelemetry/api']
const ioOfTheDomain = ['node:fs', 'node:fs/promises', 'fs', 'node:net', 'node:http', 'node:child_process', 'fastify']

interface Planted {
  file: string
  line: number
  code: string
  refused: boolean
}

/** All imports that a file `depth` folders below its layer's own could have, with what the table says about each. */
function plant(name: string, layer: Layer, depth: number): Planted[] {
  const file = layer.file ? `src/${name}.ts` : join('src', name, ...Array<string>(depth).fill('deeper'), 'planted.ts')
  const up = layer.file ? './' : '../'.repeat(depth + 1)
  const lines: { code: string; refused: boolean }[] = []

  for (const [target, { file: isFile }] of Object.entries(layers)) {
    if (target === name) continue
    const path = isFile ? `${up}${target}.ts` : `${up}${target}/thing.ts`
    const refused = !layer.imports.includes(target)
    lines.push(
      { code: `import { a as # } from '${path}';`, refused },
      { code: `import '${path}';`, refused },
      { code: `export { a as # } from '${path}';`, refused },
      { code: `export * from '${path}';`, refused },
      { code: `void import('${path}');`, refused },
      { code: `import type { A as # } from '${path}';`, refused: refused && !layer.types?.includes(target) },
    )
    if (!layer.file) lines.push({ code: `import { a as # } from './${path}';`, refused })
  }
  for (const name of guardedPackages) {
    const allowed = layer.packages?.some((allowed) => name === allowed || name.startsWith(`${allowed}/`)) ?? false
    lines.push({ code: `import { a as # } from '${name}';`, refused: !allowed })
    lines.push({ code: `import type { A as # } from '${name}';`, refused: !allowed })
  }
  for (const name of ioOfTheDomain) {
    lines.push({ code: `import { a as # } from '${name}';`, refused: layer.closed === true || isDomain(file) })
  }
  lines.push({ code: `import { a as # } from 'big.js';`, refused: layer.closed === true })
  lines.push({ code: `import { a as # } from '${up}../test/helpers/thing.ts';`, refused: true })
  lines.push({ code: `import { a as # } from './beside.ts';`, refused: false })
  if (depth > 0) lines.push({ code: `import { a as # } from '../beside.ts';`, refused: layer.closed === true })

  // One name a line: a name declared twice is a syntax error, and then no rule runs at all.
  return lines.map(({ code, refused }, index) => ({
    file,
    line: index + 1,
    code: code.replace('#', `a${index}`),
    refused,
  }))
}

const isDomain = (file: string) => file.startsWith(join('src', 'domain'))

interface Diagnostic {
  code: string
  filename: string
  labels: { span: { line: number } }[]
}

/** The lines that the import rule refuses in `folder`, as `file:line`. */
function refusedLines(folder: string): Promise<Set<string>> {
  const args = [join(root, 'node_modules', 'oxlint', 'bin', 'oxlint'), '--format', 'json', 'src']
  return new Promise((resolve, reject) => {
    // The exit code is 1 because something is refused; what counts is the list.
    // The test runner puts hooks of its own into every process that a test starts; they are not for the linter.
    const command = ['-u', 'NODE_OPTIONS', process.execPath, ...args]
    execFile('env', command, { cwd: folder, maxBuffer: 64 * 1024 * 1024 }, (_error, stdout, stderr) => {
      try {
        const { diagnostics } = JSON.parse(stdout) as { diagnostics: Diagnostic[] }
        const ours = diagnostics.filter(({ code }) => code === 'eslint(no-restricted-imports)')
        resolve(new Set(ours.map(({ filename, labels }) => `${filename}:${labels[0]?.span.line}`)))
      } catch (cause) {
        reject(new Error(`the linter did not answer with a list: ${stdout.slice(0, 2000)}${stderr}`, { cause }))
      }
    })
  })
}

t.test('arrows point downward only: each layer is refused exactly what the table refuses', async (t) => {
  const planted = Object.entries(layers).flatMap(([name, layer]) =>
    (layer.file ? [0] : [0, 1]).flatMap((depth) => plant(name, layer, depth)),
  )

  // The product's own rules; types are not needed for this one, and the planted files have none.
  const config = JSON.parse(readFileSync(join(root, '.oxlintrc.json'), 'utf8')) as { options: { typeAware?: boolean } }
  delete config.options.typeAware
  // Outside the checkout, where no ignore file hides it from the linter.
  const folder = mkdtempSync(join(tmpdir(), 'purser-layers-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, '.oxlintrc.json'), JSON.stringify(config))
  for (const [file, lines] of Map.groupBy(planted, ({ file }) => file)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), lines.map(({ code }) => `${code}\n`).join(''))
  }

  const refused = await refusedLines(folder)
  for (const [name] of Object.entries(layers)) {
    const own = planted.filter(({ file }) => file === `src/${name}.ts` || file.startsWith(join('src', name, '/')))
    t.ok(own.some((line) => line.refused) && own.some((line) => !line.refused), `${name}: both kinds are planted`)
    t.same(
      own.filter((line) => line.refused && !refused.has(`${line.file}:${line.line}`)),
      [],
      `${name}: every forbidden import is refused`,
    )
    t.same(
      own.filter((line) => !line.refused && refused.has(`${line.file}:${line.line}`)),
      [],
      `${name}: every allowed import passes`,
    )
  }
})

t.test('every room of src/ has a row in the table of layers', async (t) => {
  const rooms = readdirSync(join(root, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || (entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts')))
    .map((entry) => entry.name.replace(/\.ts$/, ''))
  t.same(
    rooms.filter((room) => !(room in layers)),
    [],
    'add the new one to the table and to .oxlintrc.json',
  )
})
