// The figures of pricing that anyone can repeat: npm run bench:pricing. It prints; it never fails for a time.
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { openPriceCache } from '../src/cache/prices.ts'
import { openSharedCache } from '../src/cache/shared.ts'
import { openClock } from '../src/db/pool/clock.ts'
import { connect } from '../src/db/pool/connection.ts'
import { migrateUp } from '../src/db/migrate/migrations.ts'
import { readAllModelPrices } from '../src/db/prices/price-versions.ts'
import { estimateLlm } from '../src/domain/estimate.ts'
import { costOfUsage, type ModelPrice } from '../src/domain/price.ts'
import { readProviderUsage } from '../src/domain/usage/index.ts'
import { seedPrices } from '../src/prices/seed.ts'
import { syncPrices } from '../src/prices/sync.ts'
import { countTokens, TOKENIZED_BYTES_MAX } from '../src/prices/tokenizer.ts'
import { findPrice } from '../src/services/prices/price-lookup.ts'
import { onStage, startPostgres } from './stage.ts'

const help = `Usage: npm run bench:pricing -- [options]

Prices calls from a warm cache, reads usage objects, syncs all models with an embedded Postgres, weighs 2,000 models in the cache, and estimates
long texts.

Options
  --calls N    calls that are priced (default 200000)
  --json       the figures as JSON
  --help       this text
`

/** As OpenAI sends it. */
const USAGE_OBJECT = {
  service_tier: 'default',
  usage: {
    prompt_tokens: 12_362,
    completion_tokens: 640,
    total_tokens: 13_002,
    prompt_tokens_details: { cached_tokens: 4_096, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 384, audio_tokens: 0, accepted_prediction_tokens: 0 },
  },
}

const MODELS = 2_000
const ESTIMATES = 20
const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '200000' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) process.stdout.write(help)
else report(await onStage(measure))

type Figures = Record<
  | 'microsecondsACall'
  | 'microsecondsAUsageObject'
  | 'firstPublishSeconds'
  | 'syncSeconds'
  | 'modelsSynced'
  | 'megabytesOf2000Models'
  | 'vocabularyMs'
  | 'repeatedLettersMs'
  | 'tokenizedTextMs',
  number
>

async function measure(stack: AsyncDisposableStack): Promise<Figures> {
  const { databaseUrl } = await startPostgres(stack)
  await migrateUp(databaseUrl, () => {})
  // As the service publishes prices.
  const db = connect(databaseUrl, { statementMs: 60_000 })
  stack.defer(() => db.destroy())
  const firstPublishMs = await timed(() => seedPrices(db))
  const syncMs = await timed(() =>
    syncPrices(db, { actor: { principal: 'bench', ip: null, reason: null }, dryRun: false, feed: 'none' }),
  )
  const { versions } = (await readAllModelPrices(db)).current
  const names = [...new Map(versions.map((version) => [`${version.provider} ${version.model}`, version])).values()]
  const shared = openSharedCache(undefined, '', () => {})

  const before = heapBytes()
  const cache = openPriceCache(db, shared)
  for (let index = 0; index < MODELS; index += 1) {
    // Beyond the models that there are, their names without the provider: entries of their own.
    const { provider, model } = names[index % names.length]!
    await cache.model(index < names.length ? provider : null, model)
  }
  const bytes = heapBytes() - before

  const usage = { input_tokens: 12_362, cache_read_tokens: 4_096, cache_write_tokens: 1_000, output_tokens: 640 }
  const calls = Number(values.calls)
  const deps = { db, prices: cache, clock: await openClock(db) }
  const cardOfNow = () => findPrice(deps, { provider: 'openai', model: 'gpt-6.1-sol' }, '/llm')
  const price = async () => costOfUsage(await cardOfNow(), usage)
  for (let call = 0; call < calls / 10; call += 1) await price()
  const pricedMs = await timed(async () => {
    for (let call = 0; call < calls; call += 1) await price()
  })
  const source = { provider: 'openai', model: 'gpt-6.1-sol' }
  for (let call = 0; call < calls / 10; call += 1) readProviderUsage(USAGE_OBJECT, source)
  const readMs = await timed(async () => {
    for (let call = 0; call < calls; call += 1) readProviderUsage(USAGE_OBJECT, source)
  })
  const card = await cardOfNow()
  return {
    microsecondsACall: (pricedMs * 1_000) / calls,
    microsecondsAUsageObject: (readMs * 1_000) / calls,
    firstPublishSeconds: firstPublishMs / 1_000,
    syncSeconds: syncMs / 1_000,
    modelsSynced: names.length,
    megabytesOf2000Models: bytes / 1_000_000,
    vocabularyMs: await timed(() => countTokens('openai', 'a')),
    repeatedLettersMs: await slowestEstimateMs(card, 'a'.repeat(100_000)),
    tokenizedTextMs: await slowestEstimateMs(card, 'a'.repeat(TOKENIZED_BYTES_MAX)),
  }
}

/** The slowest of some estimates of one text. */
async function slowestEstimateMs(card: ModelPrice, text: string): Promise<number> {
  const times: number[] = []
  for (let call = 0; call < ESTIMATES; call += 1) {
    times.push(
      await timed(async () =>
        estimateLlm(card, { inputTokens: await countTokens('openai', text), maxOutputTokens: 800 }),
      ),
    )
  }
  return Math.max(...times)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

function report(figures: Figures): void {
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version }
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ machine, ...figures }, null, 2)}\n`)
    return
  }
  const row = (name: string, value: number, unit: string) =>
    `${name.padEnd(44)}${value.toFixed(2).padStart(10)} ${unit}\n`
  process.stdout.write(
    `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}\n` +
      row('one call priced from the warm cache', figures.microsecondsACall, 'µs') +
      row("a provider's usage object read", figures.microsecondsAUsageObject, 'µs') +
      row(`publish all ${figures.modelsSynced} models, the first time`, figures.firstPublishSeconds, 's') +
      row(`sync of all ${figures.modelsSynced} models`, figures.syncSeconds, 's') +
      row(`${MODELS} models in memory`, figures.megabytesOf2000Models, 'MB') +
      row('the vocabulary loaded, at the first text', figures.vocabularyMs, 'ms') +
      row('100,000 repeated letters estimated', figures.repeatedLettersMs, 'ms') +
      row('50,000 repeated letters estimated', figures.tokenizedTextMs, 'ms'),
  )
}
