import { stripVTControlCharacters } from 'node:util'
import t from 'tap'
import { openLog, withoutForms } from '../../src/telemetry/log.ts'

/** A terminal log, and the lines that it has written. */
async function openTerminalLog(level: string, secrets: string[] = []) {
  let output = ''
  const log = await openLog(level, secrets, { write: (text) => (output += text) })
  return { log, lines: () => stripVTControlCharacters(output).split('\n').slice(0, -1) }
}

const TIME = /^\d\d:\d\d:\d\d {3}/

t.test('a terminal shows readable lines: a step of the start, a request, or the time and the message', async (t) => {
  const { log, lines } = await openTerminalLog('info')
  log.info({ step: 'schema', migrations: ['0001_prices'] }, 'applied 1 migrations')
  log.info('Server listening at http://127.0.0.1:8080')
  log.info({ req: { method: 'GET', url: '/v1/costs' }, res: { statusCode: 200 }, responseTime: 3.456 }, 'request')
  log.info({ req: { method: 'GET', url: '/v1/costs' } }, 'request whose caller has gone')
  log.warn({ job: 'roll-up' }, 'slow')
  log.debug('below the level')
  const [schema, listening, ...others] = lines()
  t.equal(schema, 'schema     applied 1 migrations')
  t.equal(listening, 'listening  http://127.0.0.1:8080')
  for (const line of others) t.match(line, TIME)
  t.same(
    others.map((line) => line.replace(TIME, '')),
    ['GET /v1/costs 200 in 3.5 ms', 'GET /v1/costs (request whose caller has gone)', 'warn slow {"job":"roll-up"}'],
  )
})

t.test('a terminal shows the stack of an error, without a caller’s control characters', async (t) => {
  const { log, lines } = await openTerminalLog('info')
  log.error({ err: new Error('out of paper') }, 'printing \u001b[2Jfailed')
  const [first, ...stack] = lines()
  t.match(first, /error printing failed *$/)
  t.match(stack.join('\n'), /out of paper[^]+log\.test\.ts/)
})

t.test('a terminal shows no secrets', async (t) => {
  const { log, lines } = await openTerminalLog('info', ['open sesame "now"'])
  log.info({ step: 'database' }, 'postgres://me:pass@host/db, open sesame "now"')
  log.error({ err: new Error('psr_0123456789 open sesame "now"') }, 'failed')
  t.equal(lines()[0], 'database   postgres://me:[redacted]@host/db, [redacted]')
  t.notMatch(lines().join('\n'), /sesame|psr_0/)
})

t.test('only text with the form of a secret is removed from a line', async (t) => {
  const token = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl'
  const lines: Record<string, string> = {
    [`GET /?token=${token}&a=1`]: 'GET /?token=[redacted token]&a=1',
    [`"${token}"`]: '"[redacted token]"',
    [`x-${token} ${token}`]: 'x-[redacted token] [redacted token]',
    [`a.${token}`]: 'a.[redacted token]',
    'eyJ.is.none, eyJx.y neither': 'eyJ.is.none, eyJx.y neither',
    'Bearer abc, basic%20abc': 'Bearer [redacted], basic [redacted]',
    'postgres://me:pass@host/db, https://host:80/a@b': 'postgres://me:[redacted]@host/db, https://host:80/a@b',
    'psr_0123456789 psr_short': 'psr_[redacted] psr_short',
    'whsec_abc+/=': 'whsec_[redacted]',
  }
  for (const [line, clean] of Object.entries(lines)) t.equal(withoutForms(line), clean)
})

t.test('a long line with many near-secrets stays unchanged', async (t) => {
  const size = 1_000_000
  for (const piece of ['eyJ-', 'eyJ-a.', '.eyJ-a', 'psr_', 'Bearer', '://', '://a:', ':', 'whsec_', 'a', ' ']) {
    const line = piece.repeat(size / piece.length)
    // One of the secrets repeats its own prefix.
    const clean = withoutForms(line)
    t.ok(clean === line || clean.includes('redacted'), piece)
  }
})
