// Runs `npm start` as people do: npm and its shell are between the signal and the service.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import t, { type Test } from 'tap'
import { describeProcess } from '../../src/embedded/process-table.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'

const root = join(import.meta.dirname, '..', '..')
// `script`, of Debian's bsdutils and of macOS, runs a command on a new terminal.
const onTerminal =
  process.platform === 'darwin'
    ? ['script', '-q', '/dev/null', 'npm', 'start']
    : ['script', '-qec', 'exec npm start', '/dev/null']

interface Started {
  child: ChildProcess
  port: number
  postgresPid: number
  output: () => string
  /** The exit code or the signal, once the process has ended. */
  ended: Promise<number | NodeJS.Signals>
}

/** Runs a command that starts the service on a new data folder, and waits for its greeting. */
async function start(t: Test, [command = '', ...args]: string[]): Promise<Started> {
  const dataDir = makeDataDir(t)
  const { PATH, HOME, TMPDIR } = process.env
  const child = spawn(command, args, {
    cwd: root,
    env: { PATH, HOME, TMPDIR, NO_COLOR: '1', PORT: '0', PURSER_DATA_DIR: dataDir },
    stdio: ['pipe', 'pipe', 'pipe'],
    // Its own process group, so that a signal to npm's pid reaches npm only.
    detached: true,
  })
  let output = ''
  const ended = once(child, 'close').then(() => child.exitCode ?? child.signalCode!)
  const greeted = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
        if (output.includes('A first reservation:')) resolve()
      })
    }
  })
  const early = ended.then((end) => Promise.reject(new Error(`ended with ${end} before it listened:\n${output}`)))
  await Promise.race([greeted, early])
  early.catch(() => {})
  const [pid] = readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')
  const [, port] = /http:\/\/127\.0\.0\.1:(\d+)/.exec(output) ?? []
  return { child, port: Number(port), postgresPid: Number(pid), output: () => output, ended }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

t.test('a signal to the pid of npm stops the service and its Postgres', async (t) => {
  for (const signals of [['SIGTERM'], ['SIGTERM', 'SIGTERM']] as const) {
    await t.test(signals.join(' and '), async (t) => {
      const { child, port, postgresPid, output, ended } = await start(t, ['npm', 'start'])
      t.notOk(await isFree(port), 'the service listens')
      for (const signal of signals) child.kill(signal)
      t.equal(await ended, 0)
      t.match(output(), /"msg":"stopping"/, 'it stopped cleanly')
      t.equal(describeProcess(postgresPid), undefined, 'its Postgres has stopped')
      t.ok(await isFree(port), 'its port is free again')
    })
  }
})

t.test('a terminal shows a short line for each step of the start, and Ctrl-C stops everything', async (t) => {
  const { child, postgresPid, output, ended } = await start(t, onTerminal)
  // The terminal signals every process on it, and npm passes its signal on: the service gets two.
  child.stdin!.write('\u0003')
  t.equal(await ended, 0)
  t.equal(describeProcess(postgresPid), undefined, 'its Postgres has stopped')

  const text = stripVTControlCharacters(output())
  const steps = [
    /purser {5}version \S+ on Node 24\.\S+\r\n/,
    /database {3}embedded Postgres 18\.\d+ in \S+\r\n/,
    /schema {5}applied \d+ migrations, \d+ functions, job queue revision \d+\r\n/,
    /prices {5}published [\d,]+ versions\r\n/,
    /cache {6}in this process, because REDIS_URL is not set\r\n/,
    /listening {2}http:\/\/127\.0\.0\.1:\d+\r\n/,
  ]
  const places = steps.map((step) => text.search(step))
  t.notOk(places.includes(-1), 'every step has a line')
  t.same(
    places.toSorted((a, b) => a - b),
    places,
    'the lines are in the order of the start',
  )
  t.notMatch(text, '{"level"', 'no line is JSON')
  t.match(text, /\d\d:\d\d:\d\d {3}stopping \{"reason":"SIGINT"\}/)
  t.equal(text.match(/stopping/g)?.length, 1)
})
