import { isIP } from 'node:net'
import t from 'tap'
import { openTargets, TargetRefused } from '../../src/delivery/targets.ts'

/** Addresses that a request must not reach, in every notation. */
const PRIVATE = [
  ...['127.0.0.1', '127.8.8.8', '0.0.0.0', '10.0.0.1', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1'],
  ...['192.0.2.1', '198.18.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '2130706433', '0x7f.1', '017700000001'],
  ...['[::1]', '[::]', '[fe80::1]', '[fc00::1]', '[fd12::1]', '[fec0::1]', '[::ffff:127.0.0.1]', '[::ffff:a00:1]'],
  ...['[::7f00:1]', '[64:ff9b::7f00:1]', '[64:ff9b:1::a00:1]', '[2002:7f00:1::]', '[2001::1]', '[2001:db8::1]'],
  ...['[ff02::1]', '[100::1]'],
]

t.test('a private, local or reserved address is refused, however it is written', async (t) => {
  const targets = openTargets(undefined)
  for (const host of PRIVATE) {
    t.match(targets.complaint(`https://${host}/hook`), /is refused: .* is not a public address/, host)
    await t.rejects(targets.resolve(new URL(`https://${host}/hook`)), TargetRefused, host)
  }
  for (const host of ['8.8.8.8', '[2606:4700::1111]', 'example.com'])
    t.equal(targets.complaint(`https://${host}/`), null)
})

t.test('plain http and unusual URLs are refused', async (t) => {
  const targets = openTargets(undefined)
  t.match(targets.complaint('http://example.com/'), /must begin with https/)
  t.match(
    targets.complaint('http://8.8.8.8/'),
    /plain http is allowed only to addresses in PURSER_WEBHOOK_PRIVATE_TARGETS/,
  )
  t.match(targets.complaint('ftp://example.com/'), /must be a URL that begins with https/)
  t.match(targets.complaint('file:///etc/passwd'), /must be a URL/)
  t.match(targets.complaint('https://user:secret@example.com/'), /must not hold a user/)
  t.match(targets.complaint('https://example.com/#there'), /fragment/)
  t.match(targets.complaint('no URL at all'), /must be a URL/)
})

t.test('listed private networks are allowed, with plain http too, and no others', async (t) => {
  const targets = openTargets('10.1.0.0/16, 127.0.0.1,fd00::/8')
  for (const url of ['http://10.1.2.3/', 'https://10.1.2.3/', 'http://127.0.0.1:9/', 'http://[fd00::1]/'])
    t.equal(targets.complaint(url), null, url)
  for (const url of ['http://10.2.0.1/', 'https://127.0.0.2/', 'http://[fe80::1]/', 'http://8.8.8.8/'])
    t.match(targets.complaint(url), /is refused/, url)
  t.equal(targets.complaint('http://hooks.internal/'), null, 'a name is checked after its address is resolved')
})

t.test('a name is refused if any of its addresses is', async (t) => {
  const answers: Record<string, string[]> = {
    'good.example': ['8.8.8.8', '2606:4700::1111'],
    'inside.example': ['10.0.0.5'],
    'mixed.example': ['8.8.8.8', '10.0.0.5'],
    'disguised.example': ['::ffff:169.254.169.254'],
  }
  const targets = openTargets(undefined, async (host) =>
    answers[host]!.map((address) => ({ address, family: isIP(address) })),
  )
  for (const host of ['inside.example', 'mixed.example', 'disguised.example'])
    await t.rejects(targets.resolve(new URL(`https://${host}/`)), TargetRefused, host)
  await t.rejects(targets.resolve(new URL('http://good.example/')), /plain http/)
  t.type(await targets.resolve(new URL('https://good.example/')), 'function')
  await t.rejects(openTargets(undefined).resolve(new URL('https://localhost/')), TargetRefused)
})

t.test('the connection goes to the checked address, even if the name changes a moment later', async (t) => {
  let asked = 0
  const targets = openTargets(undefined, async () => {
    asked += 1
    return [{ address: asked === 1 ? '8.8.8.8' : '127.0.0.1', family: 4 }]
  })
  const lookup = await targets.resolve(new URL('https://rebinding.example/'))
  for (let n = 0; n < 3; n++) {
    lookup('rebinding.example', { all: true }, (_, addresses) => t.same(addresses, [{ address: '8.8.8.8', family: 4 }]))
    lookup('rebinding.example', {}, (_, address) => t.equal(address, '8.8.8.8'))
  }
  t.equal(asked, 1)
})
