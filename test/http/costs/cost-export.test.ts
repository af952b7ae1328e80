import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { runCli } from '../../helpers/servers/cli.ts'
import { insertCostLines, type CostLine } from '../../helpers/money/cost-lines.ts'
import { sumOf } from '../../helpers/money/costs.ts'
import { createDatabase } from '../../helpers/database.ts'
import { ADMIN_KEY, startService } from '../../helpers/servers/service.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)

const ODD = { feature: `a,"b"\r\n;'=1+1`, x: '日本 é', empty: '' }
const RANGE = 'from=2026-09-01T00:00:00Z&to=2026-12-01T00:00:00Z'

/** More records than a page holds; many occurred at the same moment. */
const lines: CostLine[] = Array.from({ length: 1_205 }, (_, n) => ({
  resource_type: n % 3 === 0 ? ('e2b' as const) : ('llm' as const),
  tenant_id: n % 5 === 0 ? 'other' : 'acme',
  user_id: n % 2 === 0 ? 'u' : null,
  labels: n % 7 === 0 ? ODD : {},
  ...(n % 3 === 0
    ? { tier: 'standard', seconds: `${n}.5` }
    : { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: String(n), output_tokens: '2' }),
  usage: '{"input_tokens": 9007199254740993}',
  cost_usd: `${n % 11 === 0 ? '-' : ''}0.00000000${String(n).padStart(4, '0')}`,
  occurred_at: new Date(Date.UTC(2026, 9, 1) + Math.floor(n / 9) * 3_600_000).toISOString(),
  recorded_at: '2026-11-24T12:00:00.123456Z',
}))
await insertCostLines(database.pool, lines)

type ExportedRow = {
  cost_record_id: string
  cost_usd: string
  occurred_at: string
  recorded_at: string
  labels: Record<string, string>
}

const read = (query: string, headers: Record<string, string> = {}) =>
  service.call('GET', `/v1/costs/export?${query}`, undefined, headers)

/** Parses CSV by RFC 4180: null for an empty field, '' for a quoted empty one. */
function parseCsv(text: string): (string | null)[][] {
  const rows: (string | null)[][] = [[]]
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1)!.push(quoted === undefined ? plain || null : quoted.replaceAll('""', '"'))
    if (end === '\r\n') rows.push([])
    if (end === '') break
  }
  return rows.slice(0, -1)
}

t.test('JSON lines contain every record once, exactly, in the order in which they occurred', async (t) => {
  const { status, headers, text } = await read(`format=jsonl&${RANGE}`)
  t.equal(status, 200)
  t.equal(headers.get('content-type'), 'application/x-ndjson; charset=utf-8')
  const rows = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line, (key, value, { source }) => (key === 'cost_usd' ? source : value)) as ExportedRow)
  t.equal(rows.length, lines.length)
  t.equal(new Set(rows.map((row) => row.cost_record_id)).size, lines.length)
  t.equal(sumOf(rows.map((row) => row.cost_usd)), sumOf(lines.map((line) => line.cost_usd)))
  t.same(
    rows.map((row) => `${row.occurred_at} ${row.cost_record_id}`),
    rows.map((row) => `${row.occurred_at} ${row.cost_record_id}`).toSorted(),
  )
  t.match(text, '{"input_tokens":9007199254740993}')
  t.match(rows.find((row) => row.labels['x'] !== undefined)!.labels, ODD)
  t.equal(rows[0]!.recorded_at, '2026-11-24T12:00:00.123456Z')
  t.match(text, /"cost_usd":0\.00000000\d+,/, 'plain digits')
})

t.test('CSV contains the same records, including odd characters', async (t) => {
  const { headers, text } = await read(`format=csv&${RANGE}&tenant_id=acme`)
  t.match(headers.get('content-type'), 'text/csv')
  const [names, ...rows] = parseCsv(text)
  const at = (name: string) => names!.indexOf(name)
  const expected = lines.filter((line) => line.tenant_id === 'acme')
  t.equal(rows.length, expected.length)
  t.ok(rows.every((row) => row.length === names!.length))
  t.equal(sumOf(rows.map((row) => row[at('cost_usd')])), sumOf(expected.map((line) => line.cost_usd)))
  t.same(JSON.parse(rows.find((row) => row[at('labels')] !== '{}')![at('labels')]!), ODD)
  t.equal(
    rows.filter((row) => row[at('user_id')] === null).length,
    expected.filter((line) => line.user_id === null).length,
  )
})

t.test('a broken export resumes after its last row, and both parts together are complete', async (t) => {
  for (const format of ['csv', 'jsonl', 'focus']) {
    const { text } = await read(`format=${format}&${RANGE}`)
    const pattern = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
    const ids = (await read(`format=jsonl&${RANGE}`)).text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).cost_record_id)
    for (const count of [1_000, lines.length - 1]) {
      const answer = await read(`format=${format}&${RANGE}&cursor=${ids[count - 1]}`)
      t.notMatch(answer.headers.get('content-type'), 'header=present')
      const rest = answer.text
      t.ok(text.endsWith(rest))
      t.equal([...rest.matchAll(pattern)].length, lines.length - count, `${format} behind ${count}`)
    }
  }
})

t.test('gzip is used on request, with the same content', async (t) => {
  const asked = `${service.url}/v1/costs/export?format=csv&${RANGE}`
  const authorization = `Bearer ${ADMIN_KEY}`
  const zipped = await fetch(asked, { headers: { authorization, 'accept-encoding': 'gzip' } })
  t.equal(zipped.headers.get('content-encoding'), 'gzip')
  const plain = await fetch(asked, { headers: { authorization, 'accept-encoding': 'identity' } })
  t.equal(plain.headers.get('content-encoding'), null)
  t.equal(await zipped.text(), await plain.text())
})

t.test('a bound key exports only its tenant’s records, and bad input is a problem', async (t) => {
  const headers = await service.keyFor('viewer', 'other')
  const { text } = await read(`format=jsonl&${RANGE}`, headers)
  t.equal(text.trimEnd().split('\n').length, lines.filter((line) => line.tenant_id === 'other').length)
  t.notMatch(text, 'acme')
  t.match(await read(`format=csv&${RANGE}&tenant_id=acme`, headers), { status: 403 })
  const foreign = JSON.parse((await read(`format=jsonl&${RANGE}&tenant_id=acme`)).text.split('\n')[0]!).cost_record_id
  t.match(await read(`format=csv&${RANGE}&cursor=${foreign}`, headers), { status: 400 })
  for (const query of [
    '',
    'format=xml',
    `format=csv&cursor=x`,
    `format=csv&from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z`,
  ]) {
    t.match(await read(query), { status: 400, json: { code: 'invalid_request' } }, query)
  }
  t.same((await read('format=jsonl&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z')).text, '')
})

const MANDATORY = [
  ...[
    'BilledCost',
    'BillingAccountId',
    'BillingAccountName',
    'BillingCurrency',
    'BillingPeriodStart',
    'BillingPeriodEnd',
  ],
  ...['ChargeCategory', 'ChargeClass', 'ChargeDescription', 'ChargePeriodStart', 'ChargePeriodEnd', 'ContractedCost'],
  ...[
    'EffectiveCost',
    'InvoiceIssuerName',
    'ListCost',
    'PricingQuantity',
    'PricingUnit',
    'ProviderName',
    'PublisherName',
  ],
  ...['ServiceCategory', 'ServiceName', 'ServiceProviderName', 'HostProviderName'],
]
const MAY_BE_NULL = ['ChargeClass', 'PricingQuantity', 'PricingUnit']

t.test('the FOCUS export follows the rules of its columns, also for corrections', async (t) => {
  const line = { tenant_id: 'focus', provider: 'openai', model: 'm', occurred_at: '2026-10-31T23:59:59.5Z' }
  const [corrects] = await insertCostLines(database.pool, [{ ...line, cost_usd: '2', input_tokens: '70' }])
  await insertCostLines(database.pool, [
    { ...line, cost_usd: '-2', input_tokens: '-70', corrects: corrects!, recorded_at: '2026-11-02T00:00:00Z' },
    { ...line, cost_usd: '1', input_tokens: '35', corrects: corrects!, recorded_at: '2026-11-02T00:00:00Z' },
    { ...line, cost_usd: '-1', input_tokens: '-35', corrects: corrects!, recorded_at: '2026-10-31T23:59:59.9Z' },
    { ...line, cost_usd: '4' },
    { ...line, cost_usd: '5', input_tokens: '90', output_tokens: null },
  ])
  const [names, ...rows] = parseCsv((await read(`format=focus&${RANGE}`)).text)
  t.ok(MANDATORY.every((name) => names!.includes(name)))
  t.ok(names!.every((name) => /^(?:[A-Z][A-Za-z]+|x_[A-Z][A-Za-z]+)$/.test(name!)))
  const charges = rows.map((row) => Object.fromEntries(names!.map((name, index) => [name!, row[index] ?? null])))
  for (const charge of charges) {
    const faults = [
      ...MANDATORY.filter((name) => charge[name] === null && !MAY_BE_NULL.includes(name)),
      ...['BillingPeriodStart', 'BillingPeriodEnd', 'ChargePeriodStart', 'ChargePeriodEnd'].filter(
        (name) => !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(charge[name]!),
      ),
      ...['BilledCost', 'EffectiveCost', 'ListCost', 'ContractedCost'].filter(
        (name) => !/^-?\d+(\.\d+)?$/.test(charge[name]!),
      ),
      charge['ChargePeriodStart']! >= charge['ChargePeriodEnd']! && 'period',
      !['Usage', 'Adjustment'].includes(charge['ChargeCategory']!) && 'category',
      charge['ChargeCategory'] === 'Usage' && !(Number(charge['ConsumedQuantity']) > 0) && 'consumed',
      charge['ChargeCategory'] === 'Usage' && charge['PricingQuantity'] === null && 'priced',
      (charge['ConsumedQuantity'] === null) !== (charge['ConsumedUnit'] === null) && 'unit',
      charge['ChargeCategory'] !== 'Usage' && charge['ConsumedQuantity'] !== null && 'not consumed',
      Object.values(JSON.parse(charge['Tags']!)).some((value) => typeof value !== 'string') && 'tags',
    ].filter(Boolean)
    if (faults.length > 0) t.same(faults, [], JSON.stringify(charge))
  }
  const embedding = charges.find((charge) => charge['SubAccountId'] === 'focus' && charge['BilledCost'] === '5')!
  t.same(
    [embedding['ConsumedQuantity'], embedding['ConsumedUnit']],
    ['90', 'Tokens'],
    'a record without output tokens is measured in tokens',
  )
  t.same(
    charges
      .filter((charge) => charge['SubAccountId'] === 'focus')
      .map((charge) =>
        [charge['BilledCost'], charge['ChargeCategory'], charge['ChargeClass'], charge['BillingPeriodStart']].join(),
      )
      .toSorted(),
    [
      '-1,Adjustment,,2026-10-01T00:00:00Z',
      '-2,Adjustment,Correction,2026-11-01T00:00:00Z',
      '1,Adjustment,Correction,2026-11-01T00:00:00Z',
      '2,Usage,,2026-10-01T00:00:00Z',
      '4,Usage,,2026-10-01T00:00:00Z',
      '5,Usage,,2026-10-01T00:00:00Z',
    ],
  )
})

t.test('the command writes the same export', async (t) => {
  const args = ['export', '--format', 'jsonl', '--from', '2026-09-01T00:00:00Z', '--to', '2026-12-01T00:00:00Z']
  const few = (await read(`format=jsonl&${RANGE}&tenant_id=other`)).text
  t.match(await runCli('costs', database.url, [...args, '--tenant', 'other']), { code: 0, stdout: few })
  const file = join(t.testdir(), 'out.gz')
  t.match(await runCli('costs', database.url, [...args, '--gzip', '--out', file]), { code: 0 })
  t.equal(statSync(file).mode & 0o077, 0, 'only its owner can read the file')
  t.equal(gunzipSync(readFileSync(file)).toString(), (await read(`format=jsonl&${RANGE}`)).text)
  t.match(await runCli('costs', database.url, ['export', '--format', 'xml']), { code: 2 })
})

t.test('the command previews the retention, lists archives and reports errors', async (t) => {
  const costs = (...args: string[]) => runCli('costs', database.url, args)
  t.match(await costs('--help'), { code: 0, stdout: /restore <partition>/ })
  t.match(await costs('archive', '--dry-run'), {
    code: 0,
    stdout: /reservations would be deleted\n\d+ events would be/,
  })
  t.match(JSON.parse((await costs('archive', '--dry-run', '--json')).stdout), { archived: [], deleted_files: [] })
  t.match(await costs('archives', '--json'), { code: 0, stdout: '[]\n' })
  t.match(await costs('restore', 'llm_cost_records_2026_01'), { code: 1, stderr: /not in the list of archives/ })
  t.match(await costs('restore'), { code: 2, stderr: /needs the name of a partition/ })
  t.match(await costs('restore', 'x', '--days', '0'), { code: 2, stderr: /--days must be 1 to 3650/ })
})
