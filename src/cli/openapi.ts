import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { buildApp } from '../app.ts'
import type { Deps } from '../services/deps.ts'

const help = `Usage: npm run openapi -- [--check]

Writes openapi.yaml from the schemas of the routes.

Options
  --check  write nothing; exit code 1 where openapi.yaml differs
  --help   this text
`

const { values } = parseArgs({ options: { check: { type: 'boolean' }, help: { type: 'boolean' } } })
if (values.help) {
  process.stdout.write(help)
} else {
  const file = new URL('../../openapi.yaml', import.meta.url)
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  // The contract is in the schemas: no use case is called.
  const deps = {} as Deps
  const limits = { decisions: 1, reads: 1, admin: 1 }
  const app = await buildApp({ deps, limits, allowEmailIds: false, version, logger: false })
  await app.ready()
  const yaml = app.swagger({ yaml: true })
  await app.close()
  if (!values.check) writeFileSync(file, yaml)
  else if (readFileSync(file, 'utf8') !== yaml) {
    process.stderr.write('openapi.yaml is not what the schemas say: run npm run openapi\n')
    process.exitCode = 1
  }
}
