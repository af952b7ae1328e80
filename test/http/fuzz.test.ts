import { connect } from 'node:net'
import t from 'tap'
import { parse } from 'yaml'
import { ERRORS } from '../../src/errors.ts'
import { dereferenced } from '../helpers/contract.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { forgedCursors, hostileBodies, isRaw, nastyText, soundValue, spoilValue, type Schema } from '../helpers/fuzz.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { randomOf, readSeed } from '../helpers/random.ts'
import { keepAlive } from '../helpers/servers/keep-alive.ts'
import { ADMIN_KEY, startService } from '../helpers/servers/service.ts'

/** How many requests. The same seed and number repeat the same requests. */
const REQUESTS = Number(process.env['PURSER_TEST_FUZZ_REQUESTS'] ?? 20_000)
const ROUND = 128
const AT_ONCE = 16
const ANSWER_MS_MAX = 15_000
const FAILURES_SHOWN = 10
const HUGE_BYTES = 10_000_000
const HUGE_EVERY = 1_000

const seed = readSeed()
t.comment(`seed ${seed}, ${REQUESTS} requests; PURSER_TEST_SEED and PURSER_TEST_FUZZ_REQUESTS repeat them`)
const random = randomOf(seed)

const database = await createDatabase(t)
// The clock is stopped, so no hold lapses and only requests change anything.
await setNow(database, '2026-11-25T12:00:00Z')
const service = await startService(t, database.url, {
  LOG_LEVEL: 'silent',
  PURSER_RATE_LIMIT_DECISIONS: '100000000',
  PURSER_RATE_LIMIT_READS: '100000000',
  PURSER_RATE_LIMIT_ADMIN: '100000000',
})
const admin = { authorization: `Bearer ${ADMIN_KEY}` }
const others = [
  await service.keyFor('service'),
  await service.keyFor('service', 'a'),
  await service.keyFor('viewer', 'a'),
]

type Parameter = { in: 'path' | 'query' | 'header'; name: string; required?: boolean; schema: Schema }
type Operation = { method: string; path: string; parameters: Parameter[]; body: Schema | undefined }
type Documented = { parameters?: Parameter[]; requestBody?: { content: { 'application/json'?: { schema: Schema } } } }

const published = (await service.call('GET', '/openapi.yaml')).text
const { paths } = dereferenced(parse(published) as { paths: Record<string, Record<string, Documented>> })
const operations: Operation[] = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { parameters = [], requestBody }]) => ({
    method: method.toUpperCase(),
    path,
    parameters,
    body: requestBody?.content['application/json']?.schema,
  })),
)

/** The last few values of each field in answers. Requests that use them get further than a 404. */
const SEEN_MAX = 40
const seen = new Map<string, unknown[]>(
  Object.entries({
    ...{ model: ['gpt-6.1-sol', 'gpt-6.1-sol', 'no-such-model'], provider: ['openai'], tier: ['small', 'medium'] },
    ...{
      tenant_id: ['a', 'b'],
      user_id: ['u'],
      region: ['us-east-1'],
      group_by: ['tenant', 'model,day', 'label.x,hour'],
    },
    ...{ code: ['not-found', 'internal'], estimated_cost_usd: ['0.01', 0.02], actual_cost_usd: ['0.01', 0.02] },
  }),
)
/** The API keys of the requests. Without one, every answer would be a 401. */
const ownKeys = new Set<unknown>(
  (await service.call('GET', '/v1/api-keys')).json.data.map((key: { key_id: string }) => key.key_id),
)

function remember(answer: unknown): void {
  if (Array.isArray(answer)) return answer.slice(0, 3).forEach(remember)
  if (typeof answer !== 'object' || answer === null) return
  for (const [name, value] of Object.entries(answer)) {
    if (/(^|_)(id|cursor)$/.test(name) && value !== null && !ownKeys.has(value)) {
      const as = name === 'next_cursor' ? 'cursor' : name
      const values = seen.get(as) ?? []
      values.push(value)
      if (values.length > SEEN_MAX) values.shift()
      seen.set(as, values)
    } else if (typeof value === 'object') remember(value)
  }
}

/** The noun before {id} in a path says which id it is: /v1/reservations/{id} takes a reservation_id. */
function seenInPath(path: string, name: string): readonly unknown[] {
  const [, noun] = new RegExp(`/(\\w[\\w-]*?)s?/\\{${name}\\}`).exec(path) ?? []
  return seen.get(name) ?? seen.get(`${noun?.replaceAll('-', '_')}_id`) ?? []
}

type Request = {
  method: string
  path: string
  headers: Record<string, string>
  body: Buffer | undefined
  /** Why a 2xx would be wrong; null if the request may be valid. */
  wrong: string | null
}

function makeRequest(n: number): Request {
  const operation = random.pick(operations)
  let wrong: string | null = null
  const method =
    random.next() < 0.02 ? random.pick(['PATCH', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'GET']) : operation.method
  const inPath = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const spoilt = random.next() < 0.2
    const schema = operation.parameters.find((one) => one.in === 'path' && one.name === name)?.schema ?? {}
    const sound = soundValue(schema, name, random, (of) => seenInPath(operation.path, of))
    return encode(spoilt ? nastyText(random) : String(sound))
  })
  const query: string[] = []
  for (const { in: place, name, required, schema } of operation.parameters) {
    if (place !== 'query' || (required !== true && random.next() > 0.15)) continue
    const value =
      random.next() < 0.25 ? nastyText(random) : String(soundValue(schema, name, random, (of) => seen.get(of) ?? []))
    query.push(`${name}=${encode(value)}`)
    if (random.next() < 0.03) query.push(`${name}=${encode(nastyText(random))}`)
  }
  if (random.next() < 0.05) {
    query.push(`nobody_knows=${encode(nastyText(random))}`)
    if (operation.path.startsWith('/v1/')) wrong = 'a query field that nobody knows'
  }
  if (random.next() < 0.02)
    query.push(random.pick(['%', '%zz=1', '%E0%A4%A=%C3%28', '=', '&&', '[]=1', '__proto__[x]=1', 'limit=1&limit=2']))

  const headers: Record<string, string> = { ...admin }
  if (random.next() < 0.1) {
    delete headers['authorization']
    const other = random.pick([
      {},
      { authorization: random.pick(['Bearer', 'Bearer x', 'Basic x', ' ', `Bearer ${'k'.repeat(2_000)}`]) },
      ...others,
    ])
    Object.assign(headers, other)
  }
  if (random.next() < 0.2)
    headers['idempotency-key'] = random.pick([
      'k-1',
      'k-2',
      `k-${n}`,
      '"quoted"',
      '"',
      '""',
      ' ',
      'a b',
      'é',
      'k'.repeat(256),
      '"\\"',
    ])
  if (random.next() < 0.1) {
    const odd = random.pick([
      'accept',
      'x-request-id',
      'x-purser-reason',
      'if-match',
      'expect-ct',
      'x-forwarded-for',
      'accept-encoding',
      'cache-control',
      'traceparent',
    ])
    headers[odd] = random.pick([
      '',
      ' ',
      ',;=',
      '*/*',
      'x'.repeat(5_000),
      'é',
      '\t',
      'no-cache',
      '00-00-00-00',
      '::1, 999.1.1.1',
      'application/problem+json;q=0',
    ])
  }
  let body: Buffer | undefined
  if (operation.body !== undefined || random.next() < 0.02) {
    headers['content-type'] = 'application/json'
    const made = makeBody(operation.body ?? {}, n)
    body = made.body
    // A route without a body ignores the body.
    if (operation.body !== undefined) wrong ??= made.wrong
    if (random.next() < 0.02)
      headers['content-type'] = random.pick([
        'text/plain',
        'application/xml',
        'application/json; charset=utf-16',
        '',
        'json',
        'multipart/form-data',
        'application/json, text/plain',
      ])
  }
  if (method !== operation.method) wrong = null
  return { method, path: `${inPath}${query.length > 0 ? `?${query.join('&')}` : ''}`, headers, body, wrong }
}

function encode(text: string): string {
  return random.next() < 0.02
    ? random.pick(['%', '%zz', '%C3%28', '%ED%A0%80', '%00'])
    : encodeURIComponent(text.toWellFormed())
}

function makeBody(schema: Schema, n: number): { body: Buffer; wrong: string | null } {
  if (n % HUGE_EVERY === 0)
    return { body: Buffer.from(`{"tenant_id":"${'x'.repeat(HUGE_BYTES)}"}`), wrong: 'a huge body' }
  let value = soundValue(schema, '', random, (name) => seen.get(name) ?? [])
  for (let spoils = random.pick([0, 0, 1, 1, 1, 2, 3]); spoils > 0; spoils--) value = spoilValue(value, random)
  const kind = random.next()
  if (kind < 0.05 && typeof value === 'object' && value !== null && !Array.isArray(value) && !isRaw(value)) {
    return { body: Buffer.from(JSON.stringify({ ...value, nobody_knows: 1 })), wrong: 'a field that nobody knows' }
  }
  const json = JSON.stringify(value)
  if (kind < 0.07)
    return { body: Buffer.from(json.slice(0, 1 + random.below(json.length - 1))), wrong: 'JSON that ends too early' }
  if (kind < 0.09) {
    const bad = random.pick([[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x80]])
    const text = JSON.stringify({ ...(value as object), tenant_id: '<>' })
    const [before = '', after = ''] = text.split('<>')
    return { body: Buffer.concat([Buffer.from(before), Buffer.from(bad), Buffer.from(after)]), wrong: 'bad UTF-8' }
  }
  if (kind < 0.1) {
    const depth = random.pick([100, 10_000, 200_000])
    const [open, close] = random.pick([
      ['[', ']'],
      ['{"a":', '}'],
    ] as const)
    return { body: Buffer.from(`${open.repeat(depth)}1${close.repeat(depth)}`.slice(0, 1_000_000)), wrong: 'deep JSON' }
  }
  if (kind < 0.11)
    return {
      body: Buffer.from(
        random.pick(['', ' ', 'NaN', '{"a":1,}', "{'a':1}", '\ufeff{}', '[1', '{}{}', '01', '"\\ud800"']),
      ),
      wrong: null,
    }
  return { body: Buffer.from(json), wrong: null }
}

const PROBLEM = 'application/problem+json'
const exchange = keepAlive(t, service.url, { connectionsMax: AT_ONCE, answerMsMax: ANSWER_MS_MAX })

type Answer = { status: number; type: string; text: string; json: Record<string, unknown> | undefined }

/** Sends a request unchanged. @throws Error if no answer comes in time. */
async function send({ method, path, headers, body }: Request): Promise<Answer> {
  try {
    const length = body === undefined ? {} : { 'content-length': body.length }
    const answer = await exchange({ method, path, headers: { ...latin(headers), ...length }, body })
    const isJson = /[/+]json\b/.test(answer.type) && answer.text !== ''
    return { ...answer, json: isJson ? (JSON.parse(answer.text) as Record<string, unknown>) : undefined }
  } catch (error) {
    // The service does not read a body that is far too large. It answers and closes, which may end the upload first.
    const { code = '' } = error as NodeJS.ErrnoException
    if ((body?.length ?? 0) < HUGE_BYTES || !/^(EPIPE|ECONNRESET)$/.test(code)) throw error
    return { status: 413, type: PROBLEM, text: '', json: { status: 413, code: 'payload_too_large' } }
  }
}

const latin = (headers: Record<string, string>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.toWellFormed()]))

/** Why an answer breaks the contract; null if it does not. */
function complaint({ method, wrong }: Request, { status, type, json }: Answer): string | null {
  if (status >= 500) return `status ${status}`
  if (status < 300) return wrong === null ? null : `status ${status} for ${wrong}`
  if (status < 400) return `status ${status}`
  if (method === 'HEAD') return null
  if (!type.startsWith(PROBLEM)) return `a ${status} as ${type}`
  const code = json?.['code']
  if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code)) return `code ${String(code)}`
  if (json?.['status'] !== status || ERRORS[code as keyof typeof ERRORS].status !== status)
    return `status ${status} with code ${code}`
  return null
}

const describe = ({ method, path, headers, body }: Request) =>
  `${method} ${path.slice(0, 300)} ${JSON.stringify(headers).slice(0, 300)} ${JSON.stringify(body?.toString().slice(0, 600))}`

/** Every row and every dollar. Cost records count where they are booked, even if a job rolls them up meanwhile. */
async function written(): Promise<string> {
  const { rows: tables } = await database.pool.query<{ name: string }>(`
    select quote_ident(relname) as name from pg_class
    where relnamespace = 'copilot_internal'::regnamespace and relkind in ('r', 'p')
      and relname !~ '^cost_(tail|rollups)' order by relname`)
  const counts = tables.map(({ name }) => `'${name}', (select count(*) from copilot_internal.${name})`)
  const { rows } = await database.pool.query<{ all: object }>(`select json_build_object(${counts.join(', ')},
    'spent', (select sum(spent) from copilot_internal.quota_periods),
    'reserved', (select sum(reserved) from copilot_internal.quota_periods),
    'limits', (select sum(limit_usd) from copilot_internal.cost_quotas),
    'open', (select count(*) from copilot_internal.reservations where status = 'reserved'),
    'live keys', (select count(*) from copilot_internal.api_keys where revoked_at is null)) as all`)
  return JSON.stringify(rows[0]!.all, null, 1)
}

const failures: string[] = []
const statuses = new Map<number, number>()
let sent = 0

/** Sends requests, AT_ONCE at a time. The answers are in the order of the requests. */
async function sendAll(requests: Request[]): Promise<(Answer | undefined)[]> {
  const answers: (Answer | undefined)[] = []
  const queue = requests.entries()
  const worker = async () => {
    for (const [index, request] of queue) {
      try {
        const answer = await send(request)
        answers[index] = answer
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
        const reason = complaint(request, answer)
        if (reason !== null) failures.push(`${reason}: ${describe(request)}\n  -> ${answer.text.slice(0, 400)}`)
      } catch (error) {
        failures.push(`${String(error)}: ${describe(request)}`)
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  sent += requests.length
  return answers
}

t.test('random requests to every route get a 4xx problem or, if valid, the answer of the contract', async (t) => {
  t.ok(operations.length >= 15, `${operations.length} operations`)
  let comparisons = 0
  for (let n = 0; sent < REQUESTS && failures.length < FAILURES_SHOWN; n += ROUND) {
    const requests = Array.from({ length: ROUND }, (_, i) => makeRequest(n + i))
    const answers = await sendAll(requests)
    answers.forEach((answer) => answer !== undefined && answer.status < 300 && remember(answer.json))
    // Sends the refused requests again, alone. Any change is then the work of a refused request. 429s are left out: a full
    // quota emits one event per limit, and the limit may have changed since.
    const refused = requests.filter((_, i) => (answers[i]?.status ?? 0) >= 400 && answers[i]?.status !== 429)
    const before = await written()
    const again = await sendAll(refused)
    if (again.some((answer) => (answer?.status ?? 0) < 300)) continue
    comparisons += 1
    const after = await written()
    if (before !== after)
      failures.push(`refused requests changed ${before} to ${after}:\n${refused.map(describe).join('\n')}`)
  }
  t.comment(`${sent} requests, ${comparisons} comparisons; by status ${JSON.stringify(Object.fromEntries(statuses))}`)
  t.same(failures.slice(0, FAILURES_SHOWN), [])
  t.ok(comparisons > 0)
  t.ok((statuses.get(201) ?? 0) > 0 && (statuses.get(200) ?? 0) > 0, 'valid requests are among them')
  await assertHealthy(t, database.pool)
})

t.test('a forged cursor is refused with a 400, or the list starts at some position', async (t) => {
  const lists = operations.filter(({ parameters }) => parameters.some(({ name }) => name === 'cursor'))
  t.ok(lists.length >= 12, `${lists.length} lists`)
  const quota = await service.call('PUT', '/v1/quotas', { scope: 'platform', period: 'total', limit_usd: 1e6 })
  const hook = { kind: 'webhook', url: 'https://example.com/hook', types: [] }
  const endpoint = await service.call('POST', '/v1/webhook-endpoints', hook)
  t.equal(endpoint.status, 201)
  const grouped = ['?group_by=tenant&', '?group_by=tenant,day&compare=previous&']
  const requests = lists.flatMap(({ method, path }) =>
    (path === '/v1/costs' ? grouped : ['?']).flatMap((query) =>
      forgedCursors().map((cursor) => ({
        method,
        path: `${path.replace('{quota_id}', quota.json.quota_id).replace('{endpoint_id}', endpoint.json.endpoint_id)}${query}cursor=${encodeURIComponent(cursor)}`,
        headers: admin,
        body: undefined,
        wrong: null,
      })),
    ),
  )
  failures.length = 0
  const answers = await sendAll(requests)
  t.same(failures.slice(0, FAILURES_SHOWN), [])
  const counted = Object.groupBy(answers, (answer) => String(answer?.status))
  t.same(Object.keys(counted).sort(), ['200', '400'], 'no other status occurs')
})

t.test('a body of one huge text or list delays nobody, and its answer is no longer than the body', async (t) => {
  const size = 1_000_000
  const longText = JSON.stringify('x'.repeat(size))
  const fillings = [
    `[${'0,'.repeat(size / 2)}0]`,
    `{${Array.from({ length: size / 12 }, (_, n) => `"k${n}":1`).join()}}`,
    `[${`[${'"",'.repeat(900)}0],`.repeat(size / 2_800)}0]`,
    '9'.repeat(size),
    '['.repeat(size / 2) + ']'.repeat(size / 2),
  ]
  const places = operations.flatMap(({ method, path, body }) =>
    Object.keys(body?.properties ?? body?.anyOf?.[0]?.properties ?? {}).map((name) => ({ method, path, name })),
  )
  // Each place gets the long text, and one of the other fillings in turn.
  const requests = places.flatMap(({ method, path, name }, n) =>
    [longText, fillings[n % fillings.length]!].map((filling) => ({
      method,
      path: path.replace(/\{\w+\}/g, '01980000-0000-7000-8000-000000000001'),
      headers: { ...admin, 'content-type': 'application/json' },
      body: Buffer.from(`{"${name}":${filling}}`),
      wrong: `${filling.slice(0, 10)}… in ${name}`,
    })),
  )
  t.ok(requests.length > 100, `${requests.length} requests`)
  failures.length = 0
  const answers = await sendAll(requests)
  t.same(failures.slice(0, FAILURES_SHOWN), [])
  t.ok(answers.every((answer) => answer !== undefined && answer.text.length < size))
})

t.test('a body that is expensive to parse is refused before it is parsed, and nothing is written', async (t) => {
  const withBody = operations.filter(({ body }) => body !== undefined)
  t.ok(withBody.length >= 18, `${withBody.length} routes with a body`)
  // The smaller bodies are within the limits of every route.
  const bodies = [1_000_000, 60_000].flatMap(hostileBodies)
  const requests = withBody.flatMap(({ method, path }) =>
    bodies.map(({ kind, body, bounded }) => ({
      method,
      path: path.replace(/\{\w+\}/g, '01980000-0000-7000-8000-000000000001'),
      headers: { ...admin, 'content-type': 'application/json' },
      body: Buffer.from(body),
      wrong: kind,
      // An embedding around a usage has as many long numbers as fit into the smaller body.
      bounded: bounded && !(kind === 'long numbers' && /\/(commit|correct)$/.test(path)),
    })),
  )
  failures.length = 0
  const before = await written()
  const answers = await sendAll(requests)
  t.equal(await written(), before)
  const told = /must NOT (?:have|be nested)[^"]* (?:members|levels|characters)/
  requests.forEach((request, n) => {
    const { status, text: answer } = answers[n] ?? { status: 0, text: '' }
    const refused = request.bounded ? status === 413 || told.test(answer) : status === 413 || status === 400
    if (!refused)
      failures.push(`${request.method} ${request.path}, ${request.wrong}: ${status} ${answer.slice(0, 300)}`)
  })
  t.same(failures.slice(0, FAILURES_SHOWN), [])
  await assertHealthy(t, database.pool)
})

/** Sends bytes that are hardly HTTP. Returns what comes back until the server closes the connection. */
function sendBytes(bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(service.url)
    const socket = connect(Number(port), hostname)
    let answer = ''
    socket.setTimeout(ANSWER_MS_MAX, () => socket.destroy(new Error(`still open after ${ANSWER_MS_MAX} ms`)))
    socket.on('data', (piece) => (answer += piece.toString('latin1')))
    socket.on('error', (error) => (answer === '' ? reject(error) : resolve(answer)))
    socket.on('close', () => resolve(answer))
    socket.end(bytes)
  })
}

t.test('bytes that are not HTTP are answered with a problem and close only that connection', async (t) => {
  const start = 'POST /v1/reservations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n'
  const cases: Record<string, [bytes: string | Buffer, status: number]> = {
    'no HTTP at all': ['\u0016\u0003\u0001\u0002\u0000', 400],
    'another version': ['GET / HTTP/9.9\r\nHost: x\r\n\r\n', 400],
    'a method that nobody knows': ['BREW /v1/quotas HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    'a header with a control character': [`${start}X-Odd: a\u0000b\r\n\r\n`, 400],
    'headers without an end': [`${start}X-Long: ${'x'.repeat(100_000)}\r\n\r\n`, 400],
    'a content-length that is none': [`${start}Content-Length: many\r\n\r\n`, 400],
    'two lengths': [`${start}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`, 400],
    'a length and chunks': [`${start}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`, 400],
    'chunks that are none': [
      `${start}Authorization: ${admin.authorization}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      400,
    ],
    'a path with raw bytes': [
      Buffer.from('GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 'latin1'),
      400,
    ],
  }
  for (const [name, [bytes, status]] of Object.entries(cases)) {
    const answer = await sendBytes(bytes)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    t.match(head, new RegExp(`^HTTP/1.1 ${status} `), name)
    t.match(head, /content-type: application\/problem\+json/i, name)
    t.match(JSON.parse(body === '' ? '{}' : body), { status, type: /^\/problems\/[a-z-]+$/, code: /^[a-z_]+$/ }, name)
  }
  t.match(await service.call('GET', '/readyz'), { status: 200 })
})
