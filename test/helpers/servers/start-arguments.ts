import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const { scripts } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', '..', 'package.json'), 'utf8')) as {
  scripts: { start: string }
}

/** The arguments of node in `npm start`, so that tests and benches start the same service. */
export const startArguments = scripts.start.replace(/^exec node /, '').split(' ')

/** What a process of the service inherits from the tests: where programs and scratch files are, and Node's compiled modules. */
export function processEnvironment(): NodeJS.ProcessEnv {
  const { PATH, TMPDIR, NODE_COMPILE_CACHE } = process.env
  return { PATH, TMPDIR, ...(NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE }) }
}
