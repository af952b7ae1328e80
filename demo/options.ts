import { parseArgs } from 'node:util'

const SEED_MAX = 2 ** 32 - 1

export const HELP = `Usage: npm run demo [-- options]

Plays real input through the running service: usage objects as OpenAI, Anthropic, Google and Groq send them, and sandbox
runs, for three tenants, one of which runs out of money. Ends with what was spent, held, refused and left, and compares
that with the service's books to the last decimal.

Options
  --url URL   a service that runs already (default: $PURSER_URL); without one, the demo starts the service itself, on a
              temporary folder, and stops it at the end
  --key KEY   an admin key of that service (default: $PURSER_ADMIN_KEY)
  --seed N    0 to ${SEED_MAX}, default 1: the same seed plays the same input
  --json      the result as JSON on stdout
  --help      this text

Tenants have new names in each run, so that it can be repeated. Exits 0 when all agrees, 1 when something differs or
fails, 2 for a wrong option, 130 when interrupted.
`

/** A wrong option. The message is for the user. */
export class OptionError extends Error {
  override readonly name = 'OptionError'
}

export type Options = {
  help: boolean
  json: boolean
  seed: number
  /** The URL of a running service. Null: the demo starts one. */
  service: { url: string; adminKey: string } | null
}

/** @throws OptionError */
export function readOptions(args: string[], environment: NodeJS.ProcessEnv): Options {
  const { help, json, seed, url = environment['PURSER_URL'], key = environment['PURSER_ADMIN_KEY'] } = parse(args)
  return { help, json, seed: readSeed(seed), service: url ? readService(url, key) : null }
}

function parse(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        url: { type: 'string' },
        key: { type: 'string' },
        seed: { type: 'string', default: '1' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    return values
  } catch (error) {
    throw new OptionError((error as Error).message, { cause: error })
  }
}

function readSeed(text: string): number {
  const seed = Number(text)
  if (!/^[0-9]+$/.test(text) || seed > SEED_MAX) {
    throw new OptionError(`--seed must be a whole number from 0 to ${SEED_MAX}`)
  }
  return seed
}

function readService(url: string, adminKey: string | undefined): { url: string; adminKey: string } {
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? '')) throw new OptionError(`${url} is not an http(s) URL`)
  if (!adminKey) throw new OptionError('--url needs an admin key: --key, or PURSER_ADMIN_KEY')
  return { url: url.replace(/\/+$/, ''), adminKey }
}
