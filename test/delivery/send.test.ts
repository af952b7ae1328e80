import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { Webhook } from 'standardwebhooks'
import { openMailer } from '../../src/delivery/mail.ts'
import { openSender, type Order } from '../../src/delivery/send.ts'
import { openTargets } from '../../src/delivery/targets.ts'
import { makeSecret } from '../../src/delivery/webhook.ts'
import { startReceiver, type Receiver } from '../helpers/servers/receiver.ts'

const targets = openTargets('127.0.0.1')
const send = openSender({ targets, mailer: null, waitMs: 10_000 })
const message = {
  id: '019ac0de-0000-7000-8000-000000000001',
  type: 'quota.warning',
  timestamp: '2026-11-25T10:00:00Z',
  data: {
    tenant_id: 'acme <!channel> & co',
    scope: 'tenant',
    scope_id: 'acme <!channel> & co',
    spent_usd: JSON.rawJSON('8.000000000001'),
    user_id: null,
  },
}
const order = (url: string, more: Partial<Order> = {}): Order => ({
  kind: 'webhook',
  url,
  recipients: null,
  secrets: [makeSecret()],
  message,
  at: new Date(),
  ...more,
})

const asHeaders = ({ received }: Receiver) => received.at(-1)!.headers as Record<string, string>

t.test('a webhook verifies with each of its secrets, and with no other', async (t) => {
  const receiver = await startReceiver(t)
  const secrets = [makeSecret(), makeSecret()]
  t.match(await send(order(receiver.url, { secrets })), { delivered: true, status: 200, error: null, gone: false })
  const { body, headers, path } = receiver.received[0]!
  for (const secret of secrets)
    t.same(new Webhook(secret).verify(body, asHeaders(receiver)), {
      type: 'quota.warning',
      timestamp: '2026-11-25T10:00:00Z',
      data: { ...message.data, spent_usd: 8.000000000001 },
    })
  t.match(body, '"spent_usd":8.000000000001', 'exact')
  t.equal(path, '/hook')
  t.match(headers, { 'webhook-id': message.id, 'content-type': 'application/json', 'content-length': /^\d+$/ })
  t.throws(() => new Webhook(makeSecret()).verify(body, asHeaders(receiver)), /No matching signature/)
  t.throws(() => new Webhook(secrets[0]!).verify(body.replace('acme', 'acne'), asHeaders(receiver)))
  t.throws(() => new Webhook(secrets[0]!).verify(body, { ...asHeaders(receiver), 'webhook-id': 'other' }))
})

t.test('only 2xx is a success; redirects are not followed; 410 is final', async (t) => {
  const [receiver, elsewhere] = [await startReceiver(t), await startReceiver(t)]
  for (const status of [200, 201, 202, 204, 299]) {
    receiver.answer = (response) => response.writeHead(status).end()
    t.match(await send(order(receiver.url)), { delivered: true, status })
  }
  for (const status of [301, 302, 307, 308]) {
    receiver.answer = (response) => response.writeHead(status, { location: elsewhere.url }).end()
    t.match(await send(order(receiver.url)), { delivered: false, status, error: /redirects are not followed/ })
  }
  t.same(elsewhere.received, [])
  for (const status of [400, 404, 429, 500, 503]) {
    receiver.answer = (response) => response.writeHead(status).end('x'.repeat(200_000))
    t.match(await send(order(receiver.url)), { delivered: false, status, error: `answered ${status}`, gone: false })
  }
  receiver.answer = (response) => response.writeHead(410).end()
  t.match(await send(order(receiver.url)), { delivered: false, status: 410, gone: true })
})

t.test('Retry-After is read in seconds and as a date by the receiver’s own clock', async (t) => {
  const receiver = await startReceiver(t)
  const after = async (headers: Record<string, string>) => {
    receiver.answer = (response) => response.writeHead(503, headers).end()
    return (await send(order(receiver.url))).retryAfterSeconds
  }
  t.equal(await after({ 'retry-after': '120' }), 120)
  const date = 'Wed, 25 Nov 2020 10:00:00 GMT'
  t.equal(await after({ date, 'retry-after': 'Wed, 25 Nov 2020 10:01:30 GMT' }), 90)
  t.equal(await after({ date, 'retry-after': 'Wed, 25 Nov 2020 09:00:00 GMT' }), null)
  t.equal(await after({ 'retry-after': 'soon' }), null)
  t.equal(await after({}), null)
})

t.test('a receiver that is silent, closes, is absent or does not speak HTTP fails with its reason', async (t) => {
  const receiver = await startReceiver(t)
  receiver.answer = () => {}
  const hasty = openSender({ targets, mailer: null, waitMs: 200 })
  t.match(await hasty(order(receiver.url)), { delivered: false, status: null, error: 'no answer within 0.2 s' })
  receiver.answer = (response) => response.socket!.destroy()
  t.match(await send(order(receiver.url)), { delivered: false, status: null, error: /socket hang up|ECONNRESET/ })
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  await once(closed, 'close')
  t.match(await send(order(`http://127.0.0.1:${port}/`)), { delivered: false, status: null, error: /ECONNREFUSED/ })
  const odd = createServer((socket) => socket.end('SSH-2.0-odd\r\n')).listen(0, '127.0.0.1')
  await once(odd, 'listening')
  t.teardown(() => odd.close())
  const oddPort = (odd.address() as AddressInfo).port
  t.match(await send(order(`http://127.0.0.1:${oddPort}/`)), { delivered: false, status: null, error: /.+/ })
  t.match(await send(order(`https://127.0.0.1:${oddPort}/`)), { delivered: false, status: null, error: /.+/ })
})

t.test('an endless answer is judged by its status', async (t) => {
  const receiver = await startReceiver(t)
  receiver.answer = (response) => response.writeHead(200).write('and so on')
  t.match(await send(order(receiver.url)), { delivered: true, status: 200 })
})

t.test('a refused address is never connected to, even behind a name', async (t) => {
  const receiver = await startReceiver(t)
  const { port } = new URL(receiver.url)
  const strict = openSender({ targets: openTargets(undefined), mailer: null })
  t.match(await strict(order(`https://127.0.0.1:${port}/`)), {
    delivered: false,
    error: /127\.0\.0\.1 is not a public/,
  })
  t.match(await strict(order(`https://localhost:${port}/`)), { delivered: false, error: /is not a public address/ })
  const rebinding = openSender({
    targets: openTargets('127.0.0.1', async () => [{ address: '127.0.0.1', family: 4 }]),
    mailer: null,
  })
  t.match(await rebinding(order(`http://hooks.example:${port}/named`)), { delivered: true })
  t.match(receiver.received, [{ path: '/named', headers: { host: `hooks.example:${port}` } }])
})

t.test('a Slack-compatible hook gets text without mentions', async (t) => {
  const receiver = await startReceiver(t)
  t.match(await send(order(receiver.url, { kind: 'slack', secrets: [] })), { delivered: true })
  const { text } = JSON.parse(receiver.received[0]!.body) as { text: string }
  t.match(text, 'acme &lt;!channel&gt; &amp; co has spent 8.000000000001')
  t.notMatch(text, '<!channel>')
  t.equal(receiver.received[0]!.headers['webhook-signature'], undefined)
})

/** A real SMTP server. `mails` are the raw mails that it received. */
async function startMailServer(t: Test, options: SMTPServerOptions = {}) {
  const mails: { to: string[]; raw: string }[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData: (stream, session, done) => {
      let raw = ''
      stream.on('data', (chunk: Buffer) => (raw += chunk.toString()))
      stream.on('end', () => {
        mails.push({ to: session.envelope.rcptTo.map(({ address }) => address), raw })
        done()
      })
    },
    ...options,
  })
  server.on('error', () => {})
  const listening = server.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  t.teardown(() => server.close())
  const url = `smtp://127.0.0.1:${(listening.address() as AddressInfo).port}`
  const mailer = openMailer(url, 'Purser <purser@example.com>')
  return { mails, send: openSender({ targets, mailer }) }
}

const toBoth = { kind: 'email' as const, url: null, secrets: [], recipients: ['a@example.com', 'b@example.com'] }

t.test('mail has a plain and an escaped HTML part, and the same id in every attempt', async (t) => {
  const { mails, send } = await startMailServer(t)
  for (let n = 0; n < 2; n++) t.match(await send(order('', toBoth)), { delivered: true, status: null, error: null })
  t.same(mails[0]!.to, toBoth.recipients)
  for (const { raw } of mails) {
    const decoded = raw.replace(/=\r\n/g, '').replace(/=3D/g, '=')
    t.match(decoded, /^From: Purser <purser@example\.com>\r$/m)
    t.match(decoded, `Message-ID: <${message.id}@example.com>`)
    t.match(decoded, /Subject: Purser: tenant acme/)
    t.match(decoded, /Content-Type: text\/plain/)
    t.match(decoded, 'spent_usd: 8.000000000001')
    t.match(decoded, /Content-Type: text\/html/)
    t.match(decoded, '<td>acme &lt;!channel&gt; &amp; co</td>')
    t.match(decoded, /auto-submitted: auto-generated/i)
  }
})

t.test('refused mail fails with the server’s status; partly accepted mail is delivered and says so', async (t) => {
  const refuse = (text: string, responseCode: number) => Object.assign(new Error(text), { responseCode })
  const partly = await startMailServer(t, {
    onRcptTo: ({ address }, _, done) => done(address === 'b@example.com' ? refuse('no such mailbox', 550) : undefined),
  })
  t.match(await partly.send(order('', toBoth)), { delivered: true, error: 'refused for b@example.com' })
  const wholly = await startMailServer(t, { onRcptTo: (_address, _session, done) => done(refuse('busy\u0000', 451)) })
  t.match(await wholly.send(order('', toBoth)), { delivered: false, status: 451, error: /busy/, gone: false })
  const rude = await startMailServer(t, { onConnect: (_session, done) => done(refuse('go away', 554)) })
  t.match(await rude.send(order('', toBoth)), { delivered: false, status: 554 })
  t.match(await send(order('', toBoth)), { delivered: false, error: /PURSER_SMTP_URL/ })
})
