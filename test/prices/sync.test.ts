import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kysely, PostgresDialect } from 'kysely'
import t from 'tap'
import { syncPrices, verifyPrices, type SyncOptions } from '../../src/prices/sync.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { startService } from '../helpers/servers/service.ts'

const NOW = '2026-11-20T10:00:00Z'

const database = await createDatabase(t)
const { pool } = database
const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
await setNow(database, NOW)

const folder = mkdtempSync(join(tmpdir(), 'purser-feeds-'))
t.teardown(() => rmSync(folder, { recursive: true }))
let files = 0
function fileOf(content: unknown): string {
  const path = join(folder, `${(files += 1)}.json`)
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

type Prices = object | object[]
const feedOf = (models: Record<string, Prices>, provider = 'openai') =>
  fileOf([
    { id: provider, models: Object.entries(models).map(([id, prices]) => ({ id, match: { equals: id }, prices })) },
  ])
const factsOf = (...models: [model: string, rates: Record<string, number>][]) =>
  fileOf({
    as_of: '2026-11-20',
    models: models.map(([model, rates]) => ({ provider: 'openai', model, usd_per_mtok: rates })),
  })
const NO_FACTS = factsOf()
const actor = { principal: 'a test', ip: null, reason: null }

const sync = (options: Partial<SyncOptions>) =>
  syncPrices(db, { actor, dryRun: false, feed: 'none', second: NO_FACTS, ...options })

async function inputAt(model: string, at: string): Promise<string | null> {
  const { rows } = await pool.query<{ input: string | null }>(
    `select usd_per_mtok ->> 'input' as input from copilot_internal.find_model_price('openai', $1, $2)`,
    [model, at],
  )
  return rows[0]!.input
}

async function countVersions(): Promise<number> {
  const { rows } = await pool.query<{ count: number }>('select count(*)::integer from copilot_internal.model_pricing')
  return rows[0]!.count
}

t.test('a sync of a new database publishes nothing, and the second source agrees with its prices', async (t) => {
  const before = await countVersions()
  const outcome = await syncPrices(db, { actor, dryRun: false, feed: 'none' })
  t.same([outcome.added, outcome.aliases, outcome.disagreements, outcome.held_back], [[], 0, [], []])
  t.ok(outcome.unchanged > 1_600)
  t.equal(await countVersions(), before)
  const verified = await verifyPrices(db, undefined)
  t.same([verified.disagreements, verified.missing], [[], []])
  t.ok(verified.compared > 80)
})

t.test('a change without a date applies from now on, and earlier prices stay', async (t) => {
  await sync({ feed: feedOf({ 'changed-1': { input_mtok: 1, output_mtok: 2 } }) })
  t.equal(await inputAt('changed-1', NOW), '1')
  const feed = feedOf({ 'changed-1': { input_mtok: 1.5, output_mtok: 2 } })
  const dry = await sync({ feed, dryRun: true })
  const addition = {
    provider: 'openai',
    model: 'changed-1',
    effective_date: '2026-11-20T10:00:00.000Z',
    changes: [{ bucket: 'input', from_usd: '1', to_usd: '1.5' }],
  }
  t.match(dry.added, [addition])
  t.equal(dry.added.length, 1)
  t.equal(await inputAt('changed-1', NOW), '1', 'a dry run changes nothing')
  const { added } = await sync({ feed })
  t.same(added, dry.added, 'a dry run lists what a real run publishes')
  t.equal(await inputAt('changed-1', '2026-11-20T09:59:59.999Z'), '1')
  t.equal(await inputAt('changed-1', NOW), '1.5')
  t.same((await sync({ feed })).added, [], 'the same feed again changes nothing')
  t.same((await sync({})).added, [], 'a sync without the feed changes nothing either')
  t.equal(await inputAt('changed-1', NOW), '1.5')
})

t.test('the audit log names who published; a dry run and a sync without changes are not in it', async (t) => {
  const entries = async () =>
    (await pool.query(`select principal, subject, after from copilot_internal.audit_log where action = 'price.sync'`))
      .rows
  const before = (await entries()).length
  const feed = feedOf({ 'audited-1': { input_mtok: 1, output_mtok: 2 } })
  await sync({ feed, dryRun: true })
  t.equal((await entries()).length, before)
  await sync({ feed })
  await sync({ feed })
  const [entry, ...more] = (await entries()).slice(before)
  t.same(more, [])
  t.match(entry, {
    principal: 'a test',
    subject: 'prices',
    after: { added: 1, versions: [/^openai\/audited-1 from /] },
  })
})

t.test('a dated change applies from its date, in the past or in the future', async (t) => {
  const dated = (start_date: string, input_mtok: number) => ({
    constraint: { type: 'start_date', start_date },
    prices: { input_mtok },
  })
  await sync({ feed: feedOf({ 'dated-1': { input_mtok: 1 } }) })
  await sync({
    feed: feedOf({ 'dated-1': [{ prices: { input_mtok: 1 } }, dated('2026-10-01', 2), dated('2027-01-01', 3)] }),
  })
  t.equal(await inputAt('dated-1', '2026-09-30T23:59:59Z'), '1')
  t.equal(await inputAt('dated-1', '2026-10-01T00:00:00Z'), '2')
  t.equal(await inputAt('dated-1', '2027-01-01T00:00:00Z'), '3')
  await sync({
    feed: feedOf({ 'dated-1': [{ prices: { input_mtok: 7 } }, dated('2026-10-01', 2), dated('2027-01-01', 4)] }),
  })
  t.equal(await inputAt('dated-1', '2026-09-30T23:59:59Z'), '1', 'history is not rewritten')
  t.equal(await inputAt('dated-1', '2027-01-01T00:00:00Z'), '4', 'a future price may change')
})

t.test('a disagreement is listed with both figures and waits for an administrator', async (t) => {
  await sync({ feed: feedOf({ 'disputed-1': { input_mtok: 1, output_mtok: 4 } }) })
  const feed = feedOf({ 'disputed-1': { input_mtok: 2, output_mtok: 4 }, 'disputed-2': { input_mtok: 5 } })
  const second = factsOf(['disputed-1', { input: 3, output: 4 }], ['disputed-2', { input: 6, cache_read: 1 }])
  const { added, disagreements } = await sync({ feed, second })
  t.same(added, [])
  t.same(disagreements, [
    { provider: 'openai', model: 'disputed-1', bucket: 'input', package_usd: '2', second_usd: '3' },
    { provider: 'openai', model: 'disputed-2', bucket: 'input', package_usd: '5', second_usd: '6' },
    { provider: 'openai', model: 'disputed-2', bucket: 'cache_read', package_usd: null, second_usd: '1' },
  ])
  t.equal(await inputAt('disputed-1', NOW), '1')
  t.equal(await inputAt('disputed-2', NOW), null)
  t.same(
    (await verifyPrices(db, second)).disagreements.map(({ model, package_usd, second_usd }) => [
      model,
      package_usd,
      second_usd,
    ]),
    [['disputed-1', '1', '3']],
  )

  const price = {
    provider: 'openai',
    model: 'disputed-1',
    source: 'admin',
    effective_date: NOW,
    usd_per_mtok: { input: '3' },
  }
  await pool.query('select copilot_internal.add_model_price($1, null)', [JSON.stringify(price)])
  const decided = await sync({ feed, second })
  t.notOk(
    decided.disagreements.some(({ model }) => model === 'disputed-1'),
    'a disagreement that an administrator decided is not listed again',
  )
  t.match(decided.held_back, [{ model: 'disputed-1', reason: "an administrator's price is in force then" }])
  t.equal(await inputAt('disputed-1', NOW), '3')
})

t.test('a mirrored price waits for the model that it copies, and then follows it', async (t) => {
  const azure = async () => {
    const { rows } = await pool.query<{ input: string }>(
      `select usd_per_mtok ->> 'input' as input from copilot_internal.find_model_price('azure', 'gpt-4.1-nano', $1)`,
      [NOW],
    )
    return rows[0]!.input
  }
  const feed = feedOf({ 'gpt-4.1-nano': { input_mtok: 0.2, cache_read_mtok: 0.05, output_mtok: 0.8 } })
  const disputed = await sync({ feed, second: factsOf(['gpt-4.1-nano', { input: 0.1 }]) })
  t.match(disputed.disagreements, [{ provider: 'openai', model: 'gpt-4.1-nano', package_usd: '0.2' }])
  t.match(disputed.held_back, [
    {
      provider: 'azure',
      model: 'gpt-4.1-nano',
      reason: 'is a copy of openai gpt-4.1-nano, on which the sources disagree',
    },
  ])
  t.same(disputed.added, [])
  t.equal(await azure(), '0.1')
  const agreed = await sync({ feed })
  t.same(
    agreed.added.map(({ provider }) => provider),
    ['openai', 'azure'],
  )
  t.equal(await azure(), '0.2')
})

t.test('a change on which both sources agree is published', async (t) => {
  await sync({ feed: feedOf({ 'agreed-1': { input_mtok: 1, output_mtok: 4 } }) })
  const outcome = await sync({
    feed: feedOf({ 'agreed-1': { input_mtok: 2, output_mtok: 4 } }),
    second: fileOf({ openai: { models: { 'agreed-1': { cost: { input: 2, output: 4 } } } } }),
  })
  t.match(outcome, { disagreements: [], added: [{ model: 'agreed-1' }] })
  t.equal(await inputAt('agreed-1', NOW), '2')
})

t.test('implausible changes are held back one by one, and the others are published', async (t) => {
  const sane = { input_mtok: 1, output_mtok: 4, cache_read_mtok: 0.1, web_searches_kcount: 10 }
  const names = ['negative', 'thousandfold', 'thousandth', 'free', 'unnamed', 'fee', 'fine'].map(
    (name) => `absurd-${name}`,
  )
  await sync({ feed: feedOf(Object.fromEntries(names.map((name) => [name, sane]))) })
  const { added, held_back } = await sync({
    feed: feedOf({
      'absurd-negative': { ...sane, output_mtok: -4 },
      'absurd-thousandfold': { ...sane, input_mtok: 1_000 },
      'absurd-thousandth': { ...sane, output_mtok: 0.004 },
      'absurd-free': { ...sane, input_mtok: 0 },
      'absurd-unnamed': { input_mtok: 1, cache_read_mtok: 0.1, web_searches_kcount: 10 },
      'absurd-fee': { ...sane, web_searches_kcount: 10_000 },
      'absurd-new': { input_mtok: 100_000 },
      'absurd-new-negative': { input_mtok: -1 },
      'absurd-tiny': { input_mtok: 1e-30 },
      'absurd-fine': { ...sane, input_mtok: 2 },
    }),
  })
  t.same(
    added.map(({ model }) => model),
    ['absurd-fine'],
  )
  t.same(
    held_back.filter(({ model }) => model.startsWith('absurd')).map(({ model, reason }) => `${model}: ${reason}`),
    [
      'absurd-negative: output is negative: -4',
      'absurd-thousandfold: input changes more than 10 times, from 1 to 1000',
      'absurd-thousandth: output changes more than 10 times, from 4 to 0.004',
      'absurd-free: input becomes free, from 1',
      'absurd-unnamed: output is no longer named; it was 4',
      'absurd-fee: web_search changes more than 10 times, from 0.01 to 10',
      'absurd-new: input is more than 10000 USD: 100000',
      'absurd-new-negative: input is negative: -1',
      'absurd-tiny: input is out of bounds: 0.000000000000000000000000000001',
    ],
  )
  for (const name of names.slice(0, -1)) t.equal(await inputAt(name, NOW), '1', name)
})

t.test('broken entries are left out with their reason, and the others are published', async (t) => {
  const good = { id: 'entry-good', match: { equals: 'entry-good' }, prices: { input_mtok: 1 } }
  const entry = (id: string, prices: unknown) => ({ id, match: {}, prices })
  const feed = fileOf([
    'rubbish',
    { id: 'no-models' },
    {
      id: 'openai',
      models: [
        good,
        good,
        null,
        { prices: { input_mtok: 1 } },
        entry('entry-text', { input_mtok: '1' }),
        entry('entry-null', null),
        entry('entry-tiers', { input_mtok: { base: 1, tiers: [{ start: 'x', price: 1 }] } }),
        entry('entry-date', [
          { constraint: { type: 'start_date', start_date: '2026-02-30' }, prices: { input_mtok: 1 } },
        ]),
        entry('entry-condition', [{ constraint: { type: 'moon' }, prices: { input_mtok: 1 } }]),
        entry('entry-unit', { videos_hours: 3 }),
      ],
    },
    { id: 'openai', models: [] },
  ])
  const { added, skipped } = await sync({ feed })
  t.same(
    added.map(({ model }) => model),
    ['entry-good'],
  )
  t.same(
    skipped
      .filter(({ model }) => model === '' || model.startsWith('entry'))
      .map(({ model, reason }) => `${model}: ${reason}`),
    [
      ': is not a provider with an id and models',
      ': is not a provider with an id and models',
      'entry-good: is listed twice',
      ': has no id',
      ': has no id',
      'entry-text: has rates that are no numbers',
      'entry-null: has no prices',
      'entry-tiers: has rates that are no numbers',
      'entry-date: has a start date that is no date',
      'entry-condition: has a condition that is not known',
      ': is listed twice',
      'entry-unit: is priced by videos_hours',
    ],
  )
})

t.test('without a readable feed the package is used alone, or the command fails if the feed is required', async (t) => {
  const before = await countVersions()
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/feed' ? 200 : 500
    response.end('[{"id": "openai", "models": [{"id": "served-1", "prices": {"input_mtok": 1}}]}]')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const broken = {
    'not there': join(folder, 'nowhere.json'),
    'not JSON': fileOf('[{"id": "openai"'),
    'another form': fileOf({ data: [] }),
    empty: fileOf([]),
    'without models': fileOf([{ id: 'openai', models: [] }]),
    'an error of its server': `${url}/nothing`,
    'out of reach': 'http://127.0.0.1:1/feed',
  }
  for (const [name, feed] of Object.entries(broken)) {
    const { added, sources } = await sync({ feed })
    t.same(added, [], name)
    t.ok(
      sources.some((source) => source.name === 'feed' && source.status === 'unread'),
      name,
    )
    await t.rejects(sync({ feed, needsFeed: true }), { name: 'SourceError' }, name)
  }
  await t.rejects(sync({ second: fileOf({ a: 1 }) }), { name: 'SourceError' })
  t.equal(await countVersions(), before)
  t.match((await sync({ feed: `${url}/feed`, dryRun: true })).added, [{ model: 'served-1' }])
})

t.test('a sync publishes and moves aliases, but not those that an administrator set', async (t) => {
  const feed = (names: string[], model = 'named-1') =>
    fileOf([
      {
        id: 'openai',
        models: [{ id: model, match: { or: names.map((equals) => ({ equals })) }, prices: { input_mtok: 1 } }],
      },
    ])
  const meaning = async (alias: string) =>
    (
      await pool.query<{ model: string }>(
        `select copilot_internal.resolve_model('openai', $1, copilot_internal.clock_now()) as model`,
        [alias],
      )
    ).rows[0]?.model
  t.equal(
    (await sync({ feed: feed(['named-a', 'gpt-4']) })).aliases,
    1,
    'a model with its own card does not become an alias',
  )
  t.equal(await meaning('named-a'), 'named-1')
  t.match(await sync({ feed: feed(['named-a', 'named-b']) }), { added: [], aliases: 1 })
  t.equal(await meaning('named-b'), 'named-1')
  t.match(await sync({ feed: feed(['named-a'], 'named-2') }), { added: [{ model: 'named-2' }], aliases: 1 })
  t.equal(await meaning('named-a'), 'named-2')
  const price = {
    provider: 'openai',
    model: 'named-3',
    source: 'admin',
    usd_per_mtok: { input: '3' },
    aliases: ['named-a'],
  }
  await pool.query('select copilot_internal.add_model_price($1, null)', [JSON.stringify(price)])
  t.equal((await sync({ feed: feed(['named-a'], 'named-2') })).aliases, 0)
  t.equal(await meaning('named-a'), 'named-3')
})

t.test('the command prints the changes, publishes them, and reports failure by its exit code', async (t) => {
  const prices = (...args: string[]) =>
    new Promise<{ code: number; out: string; err: string }>((resolve) => {
      const env = { ...process.env, DATABASE_URL: database.url, PURSER_PRICE_FEED: 'none' }
      execFile(process.execPath, ['src/cli/prices.ts', ...args], { env, maxBuffer: 1e8 }, (error, out, err) =>
        resolve({ code: error === null ? 0 : Number(error.code), out, err }),
      )
    })
  const feed = feedOf({ 'command-1': { input_mtok: 0.1 } })
  const diff = await prices('diff', '--feed', feed, '--second', NO_FACTS)
  t.match(diff, { code: 0, err: /feed: read/ })
  t.match(
    diff.out,
    /^Would add 1 versions .*\n {2}openai command-1 from 1970-01-01T00:00:00Z \(.*\): input none -> 0\.1,/,
  )
  t.equal(await inputAt('command-1', NOW), null)
  const synced = await prices('sync', '--json', '--feed', feed, '--second', NO_FACTS)
  t.equal(synced.code, 0)
  t.match(JSON.parse(synced.out), {
    dry_run: false,
    added: [{ model: 'command-1', changes: [{ bucket: 'input', from_usd: null, to_usd: 0.1 }] }],
  })
  t.equal(await inputAt('command-1', NOW), '0.1')
  t.match(await prices('verify', '--second', factsOf(['command-1', { input: 0.2 }])), {
    code: 1,
    out: /openai command-1 input: 0\.1 here, 0\.2 by the second source/,
  })
  t.match(await prices('verify', '--json', '--second', factsOf(['command-1', { input: 0.1 }])), { code: 0 })
  t.match(await prices('sync', '--feed', join(folder, 'nowhere.json')), {
    code: 1,
    err: /nowhere\.json cannot be read/,
  })
  t.match(await prices('--help'), { code: 0, out: /^Usage: npm run prices/ })
  t.match(await prices(), { code: 2, err: /A command is missing/ })
  t.match(await prices('guess'), { code: 2, err: /Unknown command: guess/ })
  t.match(await prices('verify', '--feed', feed), { code: 2 })
})

t.test('POST /v1/pricing/sync does the same, for administrators only, and its prices apply at once', async (t) => {
  const feed = feedOf({
    'served-2': { input_mtok: 0.3 },
    'gpt-4o': { input_mtok: 99, output_mtok: 10, cache_read_mtok: 1.25 },
  })
  const service = await startService(t, database.url, { PURSER_PRICE_FEED: feed })
  const estimate = () =>
    service.call('POST', '/v1/estimates', {
      resource_type: 'llm',
      llm: { provider: 'openai', model: 'served-2', usage: { input_tokens: 1_000_000 } },
    })
  t.equal((await estimate()).status, 422)
  for (const role of ['service', 'viewer'] as const)
    t.equal((await service.call('POST', '/v1/pricing/sync', {}, await service.keyFor(role))).status, 403)
  const dry = await service.call('POST', '/v1/pricing/sync', { dry_run: true })
  t.match(dry, {
    status: 200,
    json: {
      dry_run: true,
      added: [{ provider: 'openai', model: 'served-2', changes: [{ bucket: 'input', to_usd: 0.3 }] }],
      disagreements: [{ provider: 'openai', model: 'gpt-4o', bucket: 'input', package_usd: 99, second_usd: 2.5 }],
    },
  })
  t.ok(Array.isArray(dry.json.held_back) && dry.json.unchanged > 1_600)
  t.equal((await estimate()).status, 422)
  const done = await service.call('POST', '/v1/pricing/sync', { dry_run: false })
  t.match(done, { status: 200, json: { dry_run: false, added: dry.json.added } })
  t.match(await estimate(), { status: 200, json: { cost_usd: 0.3 } })
  t.equal((await service.call('POST', '/v1/pricing/sync', { dry: true })).status, 400)
})
