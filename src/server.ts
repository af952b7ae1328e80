import { readFileSync } from 'node:fs'
import { buildApp } from './app.ts'
import { openPriceCache } from './cache/prices.ts'
import { openStatusCache } from './cache/quota-status.ts'
import { openSharedCache } from './cache/shared.ts'
import { ConfigError, readConfig, type Config } from './config.ts'
import { readCacheSecret } from './db/pool/cache-secret.ts'
import { openClock } from './db/pool/clock.ts'
import { connect } from './db/pool/connection.ts'
import { expireReservations } from './db/reservations/expire-reservations.ts'
import { openJobQueue } from './db/pool/job-queue.ts'
import { migrateUp } from './db/migrate/migrations.ts'
import { giveDefaults, setEnvironmentDefaults } from './db/quotas/quota-defaults.ts'
import { reachDatabase } from './db/pool/reach.ts'
import { findRoles } from './db/pool/roles.ts'
import { defaultDataDir, startEmbeddedPostgres, type EmbeddedPostgres } from './embedded/postgres.ts'
import { openMailer } from './delivery/mail.ts'
import { openSender } from './delivery/send.ts'
import { openTargets } from './delivery/targets.ts'
import { startDeliverer } from './jobs/deliver.ts'
import { listJobs } from './jobs/list.ts'
import { retentionSettings } from './embedded/retention-settings.ts'
import { startSweeper } from './jobs/sweep.ts'
import { JOB_CONNECTIONS_MAX, prepareJobs } from './jobs/worker.ts'
import { seedPrices } from './prices/seed.ts'
import { bootstrapAdminKey, type Bootstrap } from './services/keys/api-keys.ts'
import { closeArchiveFolder } from './services/archives/archive-folder.ts'
import { RETENTION_STATEMENT_MS } from './services/archives/retention.ts'
import { openDeliverer } from './services/alerts/deliver.ts'
import { openDeps } from './services/deps.ts'
import type { TokenSettings } from './services/keys/tokens.ts'
import { openLog } from './telemetry/log.ts'
import { stopTelemetry } from './telemetry/stop.ts'

const DRAIN_MS_MAX = 15_000
const CONNECTIONS_MAX = 6
const SETTLEMENT_CONNECTIONS_MAX = 4
/** Publishing prices is one statement over all of them. */
const PREPARE_MS = 60_000

/** Why the service did not start, in words for who can mend it. */
class StartError extends Error {
  override readonly name = 'StartError'
}

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

process.exitCode = await start().catch((error: unknown) => {
  const expected = error instanceof ConfigError || error instanceof StartError
  process.stderr.write(
    `${expected || !(error instanceof Error) ? String(error instanceof Error ? error.message : error) : error.stack}\n`,
  )
  process.exit(1)
})

async function start(): Promise<number> {
  const config = readConfig(process.env)
  const log = openLog(config.LOG_LEVEL, secretsOf(config))
  const closing: (() => Promise<unknown>)[] = [stopTelemetry]
  let stopping = false

  /** Stops what was started, the last first. */
  async function stop(reason: string, exitCode: number): Promise<void> {
    if (stopping) return
    stopping = true
    log.info({ reason }, 'stopping')
    setTimeout(() => process.exit(1), DRAIN_MS_MAX).unref()
    for (const close of closing.toReversed())
      await close().catch((error: unknown) => log.error({ err: error }, 'stopping'))
    process.exit(exitCode)
  }
  process.on('SIGTERM', () => void stop('SIGTERM', 0))
  process.on('SIGINT', () => void stop('SIGINT', 0))

  try {
    const databaseUrl = config.DATABASE_URL ?? (await plainly(startDatabase(config, closing))).databaseUrl
    await plainly(reachDatabase(databaseUrl))
    await plainly(migrateUp(databaseUrl, (line) => log.info(line)))

    const { roles, unprotected } = await plainly(findRoles(databaseUrl))
    for (const what of unprotected) log.warn(`not protected: ${what}; see SECURITY.md`)

    const { archiveDir } = retentionSettings(config)
    // Decisions do without archives; nothing is archived until this is mended.
    await closeArchiveFolder(archiveDir).catch((error: unknown) => {
      log.error(`not archiving: ${error instanceof Error ? error.message : String(error)}`)
    })

    const { madeKey, notes, publishedPrices } = await prepareDatabase(config, databaseUrl)
    for (const note of notes) log.warn(note)
    const db = connect(databaseUrl, { connectionsMax: CONNECTIONS_MAX, roles })
    closing.push(() => db.destroy())
    const settlementDb = connect(databaseUrl, { connectionsMax: SETTLEMENT_CONNECTIONS_MAX, roles })
    closing.push(() => settlementDb.destroy())
    // For retention, for roll-ups, for what watches the books, and for who asks about them: none waits for another.
    const maintenanceDb = connect(databaseUrl, { connectionsMax: 4, statementMs: RETENTION_STATEMENT_MS, roles })
    closing.push(() => maintenanceDb.destroy())

    // Another release may store other forms. A copy of a database has its secret, but is reached by another URL.
    const sealedFor = `${version} ${databaseUrl} ${await plainly(readCacheSecret(db))}`
    const shared = openSharedCache(config.REDIS_URL, sealedFor, (error) =>
      log.warn({ err: error }, 'Redis is out of reach; going on without it'),
    )
    closing.push(() => shared.close())
    if (config.REDIS_URL === undefined) log.info('REDIS_URL is not set: caches stand in the process')
    const prices = openPriceCache(db, shared)
    if (publishedPrices) await prices.changed()
    const targets = openTargets(config.PURSER_WEBHOOK_PRIVATE_TARGETS)
    const { PURSER_SMTP_URL: smtpUrl, PURSER_MAIL_FROM: mailFrom } = config
    const mailer = smtpUrl === undefined || mailFrom === undefined ? null : openMailer(smtpUrl, mailFrom)
    const clock = await openClock(settlementDb)
    const deps = openDeps({
      db,
      settlementDb,
      clock,
      prices,
      shared,
      status: openStatusCache(shared),
      enforcement: config.PURSER_ENFORCEMENT,
      tokens: tokenSettings(config),
      priceFeed: config.PURSER_PRICE_FEED,
      maintenanceDb,
      retention: retentionSettings(config),
      targets,
      hasMail: mailer !== null,
    })
    const app = await buildApp({
      deps,
      limits: {
        decisions: config.PURSER_RATE_LIMIT_DECISIONS,
        reads: config.PURSER_RATE_LIMIT_READS,
        admin: config.PURSER_RATE_LIMIT_ADMIN,
      },
      allowEmailIds: config.PURSER_ALLOW_EMAIL_IDS === '1',
      trustedProxies: config.PURSER_TRUSTED_PROXIES,
      version,
      logger: log,
    })
    const jobs = prepareJobs(openJobQueue(databaseUrl, JOB_CONNECTIONS_MAX), listJobs(deps, log), log)
    closing.push(() => jobs.stop())
    const sweeper = startSweeper(
      (rowsMax) => expireReservations(db, rowsMax, config.PURSER_ENFORCEMENT === 'off', (now) => clock.observe(now)),
      (error) => log.error({ err: error }, 'sweeping lapsed holds'),
    )
    closing.push(() => sweeper.stop())
    const deliverer = startDeliverer(openDeliverer({ db, send: openSender({ targets, mailer }) }), (error) =>
      log.error({ err: error }, 'delivering events'),
    )
    closing.push(() => deliverer.stop())
    closing.push(() => app.close())
    const address = await plainly(app.listen({ host: config.HOST, port: config.PORT }))
    jobs.start()
    greet(address, madeKey)
    return 0
  } catch (error) {
    for (const close of closing.toReversed()) await close().catch(() => {})
    throw error
  }
}

/** What must never be read in a log. */
function secretsOf(config: Config): (string | undefined)[] {
  const passwordOf = (url: string | undefined) =>
    URL.canParse(url ?? '') ? decodeURIComponent(new URL(url!).password) : undefined
  return [
    config.PURSER_ADMIN_KEY,
    config.PURSER_JWT_SECRET,
    passwordOf(config.DATABASE_URL),
    ...(config.REDIS_URL ?? '').split(',').map((url) => passwordOf(url.trim())),
    passwordOf(config.PURSER_SMTP_URL),
  ]
}

/** How tokens are checked; null where neither a secret nor a key set is given. */
function tokenSettings(config: Config): TokenSettings | null {
  const { PURSER_JWT_SECRET: secret, PURSER_JWT_JWKS_URL: jwksUrl } = config
  if (secret === undefined && jwksUrl === undefined) return null
  const paths = (text: string) => text.split(',').map((path) => path.trim())
  return {
    secret,
    jwksUrl,
    issuer: config.PURSER_JWT_ISSUER,
    audience: config.PURSER_JWT_AUDIENCE,
    tenantClaims: paths(config.PURSER_JWT_TENANT_CLAIM),
    roleClaims: paths(config.PURSER_JWT_ROLE_CLAIM),
    allowEmailIds: config.PURSER_ALLOW_EMAIL_IDS === '1',
  }
}

/** Failures with a reason outside the program are told by their message; a fault of its own keeps its stack. */
async function plainly<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) throw error
    throw new StartError(error.message, { cause: error })
  }
}

/** What has to be there before the first request: prices, default quotas and a key, which is answered where it was made. */
async function prepareDatabase(config: Config, databaseUrl: string): Promise<Bootstrap & { publishedPrices: boolean }> {
  const db = connect(databaseUrl, { connectionsMax: 1, statementMs: PREPARE_MS })
  try {
    const { published } = await seedPrices(db)
    await setEnvironmentDefaults(db, [
      { scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: config.PURSER_DEFAULT_LLM_USD_PER_DAY },
      { scope: 'tenant', resource_type: 'e2b', period: 'day', limit_usd: config.PURSER_DEFAULT_E2B_USD_PER_DAY },
    ])
    await giveDefaults(db)
    return { ...(await bootstrapAdminKey({ db }, config.PURSER_ADMIN_KEY)), publishedPrices: published }
  } finally {
    await db.destroy()
  }
}

async function startDatabase(config: Config, closing: (() => Promise<unknown>)[]): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir: config.PURSER_DATA_DIR ?? defaultDataDir() })
  closing.push(() => postgres.stop())
  return postgres
}

/** What a new user needs, for people, beside the log. */
function greet(address: string, madeKey: string | null): void {
  const lines = [
    `Purser ${version} listens on ${address}`,
    ...(madeKey === null ? [] : ['', `Admin key, shown this once: ${madeKey}`]),
    '',
    'A first reservation:',
    `  curl -sS ${address}/v1/reservations -H "authorization: Bearer ${madeKey ?? '$PURSER_ADMIN_KEY'}" -H 'content-type: application/json' \\`,
    `    -d '{"resource_type":"llm","tenant_id":"acme","llm":{"provider":"openai","model":"gpt-6.1-sol","input_tokens":12000,"max_output_tokens":2000}}'`,
    '',
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}
