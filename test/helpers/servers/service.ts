import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { processEnvironment, startArguments } from './start-arguments.ts'

const root = join(import.meta.dirname, '..', '..', '..')

export const ADMIN_KEY = 'test-admin-key-0123456789abcdef'

/** An answer; `json` is {} if the body is not JSON. */
export interface Answer {
  status: number
  headers: Headers
  text: string
  // Tests assert what they read, so the type of a body would add nothing.
  // oxlint-disable-next-line typescript/no-explicit-any
  json: any
}

export interface Service {
  url: string
  pid: number
  /** Calls the service with the admin key, unless `headers` has another authorization. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  /** Makes a key with the admin key; returns it as an authorization header. */
  keyFor(role: 'admin' | 'service' | 'viewer', tenantId?: string): Promise<{ authorization: string }>
  /** Everything that the process has printed so far. */
  output(): string
  /** Sends a signal and waits for the end; returns the exit code, or the signal that ended the process. */
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals | null>
}

/**
 * Starts the real service as a separate process, and waits until it listens. Stopped when `t` is done.
 *
 * @param environment further settings; the admin key is ADMIN_KEY.
 */
export async function startService(
  t: Test,
  databaseUrl: string,
  environment: Record<string, string> = {},
): Promise<Service> {
  const started = await spawnService({ DATABASE_URL: databaseUrl, PURSER_ADMIN_KEY: ADMIN_KEY, ...environment })
  t.teardown(() => started.stop())
  return started
}

/** The same without teardown, and with only the given settings. */
export async function spawnService(environment: Record<string, string>): Promise<Service> {
  const child = spawn(process.execPath, startArguments, {
    cwd: root,
    env: { ...processEnvironment(), LOG_LEVEL: 'warn', PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const url = await Promise.race([listening(child, lines), ended(child, lines)])
  return {
    url,
    pid: child.pid!,
    call: (method, path, body, headers) => call(url, method, path, body, headers),
    keyFor: async (role, tenantId) => {
      const made = await call(url, 'POST', '/v1/api-keys', {
        name: `${role} of a test`,
        role,
        tenant_id: tenantId ?? null,
      })
      if (made.status !== 201) throw new Error(`no key: ${made.text}`)
      return { authorization: `Bearer ${made.json.key}` }
    },
    output: () => lines.join('\n'),
    stop: async (signal = 'SIGTERM') => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode ?? child.signalCode
      child.kill(signal)
      await once(child, 'exit')
      return child.exitCode ?? child.signalCode
    },
  }
}

async function listening(child: ChildProcess, lines: string[]): Promise<string> {
  return new Promise((resolve) => {
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line)
        const [, url] = /listens on (http:\S+)/.exec(line) ?? []
        if (url !== undefined) resolve(url)
      })
    }
  })
}

async function ended(child: ChildProcess, lines: string[]): Promise<never> {
  await once(child, 'close')
  throw new Error(`the service ended before it listened:\n${lines.join('\n')}`)
}

async function call(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: {
      authorization: `Bearer ${ADMIN_KEY}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  const json: unknown = /[/+]json\b/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : {}
  return { status: response.status, headers: response.headers, text, json }
}
