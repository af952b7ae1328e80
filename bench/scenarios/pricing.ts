import { openPriceCache } from '../../src/cache/prices.ts'
import { openSharedCache } from '../../src/cache/shared.ts'
import { openClock } from '../../src/db/pool/clock.ts'
import { connect } from '../../src/db/pool/connection.ts'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import { readAllModelPrices } from '../../src/db/prices/price-versions.ts'
import { estimateLlm } from '../../src/domain/estimate.ts'
import { costOfUsage, type ModelPrice } from '../../src/domain/price.ts'
import { readProviderUsage } from '../../src/domain/usage/index.ts'
import { seedPrices } from '../../src/prices/seed.ts'
import { syncPrices } from '../../src/prices/sync.ts'
import { countTokens, TOKENIZED_BYTES_MAX } from '../../src/prices/tokenizer.ts'
import { findPrice } from '../../src/services/prices/price-lookup.ts'
import { startPostgres } from '../database.ts'
import { timed } from '../figures.ts'
import { defineScenario } from '../scenario.ts'
import { say } from '../stage.ts'

const SOURCE = { provider: 'openai', model: 'gpt-6.1-sol' }
const USAGE = { input_tokens: 12_362, cache_read_tokens: 4_096, cache_write_tokens: 1_000, output_tokens: 640 }
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

export const scenario = defineScenario({
  help: `Prices calls from a warm cache, reads usage objects, publishes and syncs the prices of all models in an embedded Postgres,
measures the memory of ${MODELS} models in the cache, and estimates long texts.`,
  options: { calls: [200_000, 'calls that are priced'] },
  async run(stack, { calls }) {
    const { databaseUrl } = await startPostgres(stack)
    await migrateUp(databaseUrl, () => {})
    // As the service publishes prices.
    const db = connect(databaseUrl, { statementMs: 60_000 })
    stack.defer(() => db.destroy())
    say('publishing and syncing the prices of all models')
    const publishMs = await timed(() => seedPrices(db))
    const actor = { principal: 'bench', ip: null, reason: null }
    const syncMs = await timed(() => syncPrices(db, { actor, dryRun: false, feed: 'none' }))
    const { versions } = (await readAllModelPrices(db)).current
    const models = [...new Map(versions.map((version) => [`${version.provider} ${version.model}`, version])).values()]

    const before = heapBytes()
    const prices = openPriceCache(
      db,
      openSharedCache(undefined, '', () => {}),
    )
    for (let n = 0; n < MODELS; n += 1) {
      // There are fewer than MODELS. After the last one come names without their provider, which are entries of their own.
      const { provider, model } = models[n % models.length]!
      await prices.model(n < models.length ? provider : null, model)
    }
    const cacheBytes = heapBytes() - before

    say('pricing calls and estimating texts')
    const deps = { db, prices, clock: await openClock(db) }
    const findCard = () => findPrice(deps, SOURCE, '/llm')
    const card = await findCard()
    return {
      microsPerCall: await microsEach(calls, async () => costOfUsage(await findCard(), USAGE)),
      microsPerUsageObject: await microsEach(calls, () => readProviderUsage(USAGE_OBJECT, SOURCE)),
      publishSeconds: publishMs / 1_000,
      syncSeconds: syncMs / 1_000,
      models: models.length,
      cacheMegabytes: cacheBytes / 1_000_000,
      vocabularyMs: await timed(() => countTokens('openai', 'a')),
      repeatedLettersMs: await slowestEstimateMs(card, 'a'.repeat(100_000)),
      tokenizedTextMs: await slowestEstimateMs(card, 'a'.repeat(TOKENIZED_BYTES_MAX)),
    }
  },
  print(figures) {
    const line = (name: string, value: number, unit: string) =>
      `${name.padEnd(44)}${value.toFixed(2).padStart(10)} ${unit}`
    return [
      line('one call priced from the warm cache', figures.microsPerCall, 'µs'),
      line("a provider's usage object read", figures.microsPerUsageObject, 'µs'),
      line(`all ${figures.models} models published, the first time`, figures.publishSeconds, 's'),
      line(`sync of all ${figures.models} models`, figures.syncSeconds, 's'),
      line(`${MODELS} models in memory`, figures.cacheMegabytes, 'MB'),
      line('the vocabulary loaded, at the first text', figures.vocabularyMs, 'ms'),
      line('100,000 repeated letters estimated', figures.repeatedLettersMs, 'ms'),
      line(`${TOKENIZED_BYTES_MAX.toLocaleString('en')} repeated letters estimated`, figures.tokenizedTextMs, 'ms'),
    ]
  },
})

/** Microseconds of one call, after warming up with a tenth as many. */
async function microsEach(calls: number, work: () => unknown): Promise<number> {
  const repeat = async (times: number) => {
    for (let call = 0; call < times; call += 1) {
      const result = work()
      // Waiting takes time as well: work that answers at once is not waited for.
      if (result instanceof Promise) await result
    }
  }
  await repeat(calls / 10)
  return ((await timed(() => repeat(calls))) * 1_000) / calls
}

/** The slowest of several estimates of one text. */
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

function heapBytes(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
