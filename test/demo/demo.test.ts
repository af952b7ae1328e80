import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { compare } from '../../demo/compare.ts'
import type { Books } from '../../demo/books.ts'
import type { Outcome } from '../../demo/play.ts'
import { tally } from '../../demo/tally.ts'
import { createDatabase } from '../helpers/database.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { ADMIN_KEY, startService } from '../helpers/servers/service.ts'

const program = join(import.meta.dirname, '..', '..', 'demo', 'main.ts')

function startDemo(args: string[], env: Record<string, string> = {}) {
  const { PURSER_URL: _url, PURSER_ADMIN_KEY: _key, ...rest } = process.env
  return spawn(process.execPath, [program, ...args], {
    env: { ...rest, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** Runs the demo as a separate process until it ends. */
async function runDemo(args: string[], env: Record<string, string> = {}) {
  const demo = startDemo(args, env)
  const [stdout, stderr] = await Promise.all([text(demo.stdout), text(demo.stderr), once(demo, 'close')])
  return { code: demo.exitCode, stdout, stderr }
}

/** A folder for temporary folders, which the server's user can enter. */
function makeTemporary(t: Test): string {
  const folder = makeDataDir(t)
  chmodSync(folder, 0o711)
  return folder
}

t.test('in its own service, 200 usage objects and 20 sandbox runs agree with the books', async (t) => {
  const folder = makeTemporary(t)
  const { code, stdout, stderr } = await runDemo(['--json', '--seed', '7'], { TMPDIR: folder })
  t.equal(code, 0, stderr)
  const result = JSON.parse(stdout)
  t.ok(result.usage_objects >= 200)
  t.equal(result.sandbox_runs, 20)
  t.strictSame(Object.keys(result.usage_objects_by_form).toSorted(), [
    'anthropic messages',
    'google generate content',
    'groq chat completions',
    'openai chat completions',
    'openai responses',
  ])
  t.equal(new Set(result.accounts.map((account: { tenant_id: string }) => account.tenant_id)).size, 3)
  for (const account of result.accounts) {
    const poor = account.tenant_id.endsWith('-cedar')
    t.equal(account.refused > 0, poor, `${account.tenant_id} is ${poor ? '' : 'not '}refused ${account.resource_type}`)
  }
  t.ok(result.accounts.some((account: { held_usd: number }) => account.held_usd > 0))
  for (const name of ['released', 'left_open', 'by_another_model', 'by_own_estimate']) t.ok(result[name] > 0, name)
  t.strictSame(result.differences, [])
  t.equal(result.agrees, true)
  t.match(result.checked, [
    { source: /^GET \/v1\/cost-records/, records: result.committed, quotas: 6 },
    { source: /check_integrity/, records: result.committed, quotas: 6 },
  ])
  t.strictSame(readdirSync(folder), [], 'nothing is left of the service')
})

t.test('on a service with earlier data, a seed gives the same figures for new tenants', async (t) => {
  const { url, pool } = await createDatabase(t)
  const service = await startService(t, url)
  const env = { PURSER_URL: service.url, PURSER_ADMIN_KEY: ADMIN_KEY }
  const first = await runDemo(['--json'], env)
  const second = await runDemo(['--json'], env)
  t.strictSame([first.code, second.code], [0, 0], first.stderr + second.stderr)
  t.not(first.stdout, second.stdout)
  const withoutNames = (json: string) => json.replaceAll(/demo-[0-9a-f]{8}-/g, '')
  t.equal(withoutNames(first.stdout), withoutNames(second.stdout))
  const keys = await service.call('GET', '/v1/api-keys')
  const lent = keys.json.data.filter(({ name }: { name: string }) => name.startsWith('demo-'))
  t.strictSame(
    lent.map(({ revoked_at: revokedAt }: { revoked_at: string | null }) => revokedAt !== null),
    [true, true],
  )
  await assertHealthy(t, pool)
})

t.test("an interrupt stops the demo's service and removes its folder", async (t) => {
  const folder = makeTemporary(t)
  const demo = startDemo([], { TMPDIR: folder })
  const closed = once(demo, 'close')
  for await (const chunk of demo.stderr.setEncoding('utf8')) {
    if (String(chunk).includes('playing')) demo.kill('SIGINT')
  }
  await closed
  t.equal(demo.exitCode, 130)
  t.strictSame(readdirSync(folder), [])
})

t.test('an error is reported in one line', async (t) => {
  t.match(await runDemo(['--seed', 'x']), { code: 2, stderr: /^demo: --seed must be a whole number/ })
  t.match(await runDemo(['--url', 'http://127.0.0.1:9', '--key', '']), { code: 2, stderr: /needs an admin key/ })
  t.match(await runDemo(['--help']), { code: 0, stdout: /^Usage: npm run demo/, stderr: '' })
  const { url } = await createDatabase(t)
  const service = await startService(t, url)
  t.match(await runDemo(['--url', service.url, '--key', 'wrong']), { code: 1, stderr: /^demo: .*unauthenticated/ })
})

t.test('a difference in the last decimal is found everywhere', (t) => {
  const step = { resourceType: 'llm', kind: 'as reserved', reserve: {}, next: 'leave open' } as const
  const model = { ...step, asked: 'groq/a', booked: 'groq/a' }
  const outcomes: Outcome[] = [
    { tenantId: 't', step: model, end: 'committed', costRecordId: 'r-1', costUsd: '0.000000000001', overrun: false },
    { tenantId: 't', step: model, end: 'left open', heldUsd: '0.2' },
  ]
  const accounts = [tally(outcomes, 't', 'llm', '1')]
  const record = {
    costRecordId: 'r-1',
    tenantId: 't',
    resourceType: 'llm',
    subject: 'groq/a',
    costUsd: '0.000000000001',
  } as const
  const balance = {
    tenantId: 't',
    resourceType: 'llm',
    spentUsd: '0.000000000001',
    heldUsd: '0.200',
    remainingUsd: '0.799999999999',
  } as const
  const sound: Books = { source: 'the books', records: [record], balances: [balance], broken: [] }
  const found = (change: Partial<Books>) => compare(outcomes, accounts, { ...sound, ...change }).length > 0

  t.strictSame(compare(outcomes, accounts, sound), [])
  t.ok(found({ records: [{ ...record, costUsd: '0.000000000002' }] }), 'the cost of a record')
  t.ok(found({ records: [{ ...record, subject: 'groq/b' }] }), 'another model')
  t.ok(found({ records: [] }), 'a missing record')
  t.ok(found({ records: [record, record] }), 'a record twice')
  t.ok(found({ records: [record, { ...record, costRecordId: 'r-2', costUsd: '0' }] }), 'a record of an unknown call')
  t.ok(found({ balances: [{ ...balance, spentUsd: '0.000000000002' }] }), 'the spent amount')
  t.ok(found({ balances: [{ ...balance, heldUsd: '0.200000000001' }] }), 'the held amount')
  t.ok(found({ balances: [{ ...balance, remainingUsd: '0.799999999998' }] }), 'the remaining amount')
  t.ok(found({ balances: [] }), 'a missing quota')
  t.ok(found({ broken: ['I1: quota_period 1: reserved is 1, its open holds sum to 0'] }), 'a broken invariant')
  t.end()
})
