import { readFileSync } from 'node:fs'
import { buildApp } from './app.ts'
import { openPriceCache } from './cache/prices.ts'
import { openStatusCache } from './cache/quota-status.ts'
import { openSharedCache } from './cache/shared.ts'
import { ConfigError, readConfig, secretsOf, tokenSettings, type Config } from './config.ts'
import { readCacheSecret } from './db/pool/cache-secret.ts'
import { openClock } from './db/pool/clock.ts'
import { connect } from './db/pool/connection.ts'
import { expireReservations } from './db/reservations/expire-reservations.ts'
import { openJobQueue } from './db/pool/job-queue.ts'
import { migrateUp, type MigrationOutcome } from './db/migrate/migrations.ts'
import { giveDefaults, setEnvironmentDefaults } from './db/quotas/quota-defaults.ts'
import { reachDatabase } from './db/pool/reach.ts'
import { findRoles } from './db/pool/roles.ts'
import { defaultDataDir, startEmbeddedPostgres } from './embedded/postgres.ts'
import { openMailer } from './delivery/mail.ts'
import { openSender } from './delivery/send.ts'
import { openTargets } from './delivery/targets.ts'
import { startDeliverer } from './jobs/deliver.ts'
import { listJobs } from './jobs/list.ts'
import { retentionSettings } from './embedded/retention-settings.ts'
import { startSweeper } from './jobs/sweep.ts'
import { JOB_CONNECTIONS_MAX, prepareJobs } from './jobs/worker.ts'
import { seedPrices, type SeedOutcome } from './prices/seed.ts'
import { bootstrapAdminKey, type Bootstrap } from './services/keys/api-keys.ts'
import { closeArchiveFolder } from './services/archives/archive-folder.ts'
import { RETENTION_STATEMENT_MS } from './services/archives/retention.ts'
import { openDeliverer } from './services/alerts/deliver.ts'
import { openDeps } from './services/deps.ts'
import { openLog } from './telemetry/log.ts'
import { stopTelemetry } from './telemetry/stop.ts'

const STOP_MS_MAX = 15_000
const CONNECTIONS_MAX = 6
const SETTLEMENT_CONNECTIONS_MAX = 4
const MAINTENANCE_CONNECTIONS_MAX = 4
/** All prices are published in one statement. */
const PREPARE_MS = 60_000

/** A reason outside the program why the service did not start, in words for the person who can fix it. */
class StartError extends Error {
  override readonly name = 'StartError'
}

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

await start().catch((error: unknown) => {
  process.stderr.write(`${describeFailure(error)}\n`)
  process.exit(1)
})

async function start(): Promise<void> {
  const config = readConfig(process.env)
  const log = await openLog(config.LOG_LEVEL, secretsOf(config))
  // What the start opens is closed in the opposite order: first no more requests, then the jobs, at last the database.
  const opened = new AsyncDisposableStack()
  opened.defer(stopTelemetry)
  // Once: a second call of disposeAsync() would not wait for the first.
  let closed: Promise<void> | null = null
  const close = () => (closed ??= opened.disposeAsync())

  // By hand, not by close-with-grace: it ends the process at the second signal, and Ctrl-C under npm is two, the terminal's and npm's.
  let stopped: Promise<void> | null = null
  let startFailed = false
  async function stop(reason: string): Promise<void> {
    log.info({ reason }, 'stopping')
    setTimeout(() => process.exit(1), STOP_MS_MAX).unref()
    await close().catch((error: unknown) => {
      for (const err of eachError(error)) log.error({ err }, 'stopping')
    })
    // The start prints its own failure and exits.
    if (!startFailed) process.exit(0)
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void (stopped ??= stop(signal)))

  try {
    log.info({ step: 'purser' }, `version ${version} on Node ${process.versions.node}`)
    const databaseUrl = config.DATABASE_URL ?? (await withReason(startDatabase(config, opened)))
    const { version: postgresVersion, place } = await withReason(reachDatabase(databaseUrl))
    log.info(
      { step: 'database' },
      config.DATABASE_URL === undefined
        ? `embedded Postgres ${postgresVersion} in ${dataDirOf(config)}`
        : `Postgres ${postgresVersion} at ${place}`,
    )
    const migrated = await withReason(migrateUp(databaseUrl, () => {}))
    log.info({ step: 'schema', migrations: migrated.migrations }, describeMigration(migrated))
    const { roles, unprotected } = await withReason(findRoles(databaseUrl))
    for (const what of [...migrated.unprotected, ...unprotected]) log.warn(`not protected: ${what}; see SECURITY.md`)

    const { archiveDir } = retentionSettings(config)
    // Decisions need no archives, so the service starts. Nothing is archived until this is fixed.
    await closeArchiveFolder(archiveDir).catch((error: unknown) => {
      log.error(`not archiving: ${error instanceof Error ? error.message : String(error)}`)
    })

    const { madeKey, notes, seeded } = await prepareDatabase(config, databaseUrl)
    log.info({ step: 'prices' }, describePrices(seeded))
    for (const note of notes) log.warn(note)

    const db = connect(databaseUrl, { connectionsMax: CONNECTIONS_MAX, roles })
    opened.defer(() => db.destroy())
    const settlementDb = connect(databaseUrl, { connectionsMax: SETTLEMENT_CONNECTIONS_MAX, roles })
    opened.defer(() => settlementDb.destroy())
    // Retention, roll-ups, the integrity watch and integrity requests can take minutes. With a connection each, none waits for another.
    const maintenanceDb = connect(databaseUrl, {
      connectionsMax: MAINTENANCE_CONNECTIONS_MAX,
      statementMs: RETENTION_STATEMENT_MS,
      roles,
    })
    opened.defer(() => maintenanceDb.destroy())

    // A cached value is sealed for this release, because another may store other forms, and for this database: a copy of a database
    // has the same secret, but another URL.
    const sealedFor = `${version} ${databaseUrl} ${await withReason(readCacheSecret(db))}`
    const shared = openSharedCache(config.REDIS_URL, sealedFor, (error) =>
      log.warn({ err: error }, 'Redis is out of reach; going on without it'),
    )
    opened.defer(() => shared.close())
    log.info(
      { step: 'cache' },
      config.REDIS_URL === undefined ? 'in this process, because REDIS_URL is not set' : 'in Redis and in this process',
    )
    const prices = openPriceCache(db, shared)
    if (seeded.published) await prices.changed()
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
    opened.defer(() => jobs.stop())
    const sweeper = startSweeper(
      (rowsMax) => expireReservations(db, rowsMax, config.PURSER_ENFORCEMENT === 'off', (now) => clock.observe(now)),
      (error) => log.error({ err: error }, 'sweeping lapsed holds'),
    )
    opened.defer(() => sweeper.stop())
    const deliverer = startDeliverer(openDeliverer({ db, send: openSender({ targets, mailer }) }), (error) =>
      log.error({ err: error }, 'delivering events'),
    )
    opened.defer(() => deliverer.stop())

    opened.defer(() => app.close())
    const address = await withReason(app.listen({ host: config.HOST, port: config.PORT }))
    jobs.start()
    const isShown = process.stdout.isTTY && log.isLevelEnabled('info')
    greet(address, madeKey, isShown)
  } catch (error) {
    // A signal that came during the start closes what the start is using. That failure is expected, and the exit code is 0.
    if (stopped !== null) return stopped
    startFailed = true
    await close().catch(() => {})
    throw error
  }
}

/** The errors of all closings that failed: AsyncDisposableStack nests them, and a log shows the outermost alone. */
function eachError(error: unknown): unknown[] {
  return error instanceof SuppressedError ? [...eachError(error.suppressed), error.error] : [error]
}

function dataDirOf(config: Config): string {
  return config.PURSER_DATA_DIR ?? defaultDataDir()
}

/** Starts the embedded Postgres and answers its URL. */
async function startDatabase(config: Config, opened: AsyncDisposableStack): Promise<string> {
  const postgres = await startEmbeddedPostgres({ dataDir: dataDirOf(config) })
  opened.defer(() => postgres.stop())
  return postgres.databaseUrl
}

/** Puts into the database what the first request needs: prices, default quotas and a key. */
async function prepareDatabase(config: Config, databaseUrl: string): Promise<Bootstrap & { seeded: SeedOutcome }> {
  const db = connect(databaseUrl, { connectionsMax: 1, statementMs: PREPARE_MS })
  try {
    const seeded = await seedPrices(db)
    await setEnvironmentDefaults(db, [
      { scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: config.PURSER_DEFAULT_LLM_USD_PER_DAY },
      { scope: 'tenant', resource_type: 'e2b', period: 'day', limit_usd: config.PURSER_DEFAULT_E2B_USD_PER_DAY },
    ])
    await giveDefaults(db)
    return { ...(await bootstrapAdminKey({ db }, config.PURSER_ADMIN_KEY)), seeded }
  } finally {
    await db.destroy()
  }
}

function describeMigration({ migrations, functions, jobQueueRevision }: MigrationOutcome): string {
  const brought = [
    ...(migrations.length > 0 ? [`${migrations.length} migrations`] : []),
    ...(functions > 0 ? [`${functions} functions`] : []),
    ...(jobQueueRevision === null ? [] : [`job queue revision ${jobQueueRevision}`]),
  ]
  return brought.length > 0 ? `applied ${brought.join(', ')}` : 'up to date'
}

function describePrices({ published, models, e2b }: SeedOutcome): string {
  const added = (models?.added ?? 0) + (e2b?.added ?? 0)
  return published ? `published ${added.toLocaleString('en-US')} versions` : 'up to date'
}

/**
 * What a new user needs, on standard output beside the log.
 *
 * @param isShown whether the log has shown the address to a person already.
 */
function greet(address: string, madeKey: string | null, isShown: boolean): void {
  const lines = [
    ...(isShown ? [] : [`Purser ${version} listens on ${address}`]),
    ...(madeKey === null ? [] : ['', `Admin key, shown this once: ${madeKey}`]),
    '',
    'A first reservation:',
    `  curl -sS ${address}/v1/reservations -H "authorization: Bearer ${madeKey ?? '$PURSER_ADMIN_KEY'}" -H 'content-type: application/json' \\`,
    `    -d '{"resource_type":"llm","tenant_id":"acme","llm":{"provider":"openai","model":"gpt-6.1-sol","input_tokens":12000,"max_output_tokens":2000}}'`,
    '',
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** Turns a failure whose reason is outside the program into a StartError, which prints one line; a fault of our own keeps its stack. */
async function withReason<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) throw error
    throw new StartError(error.message, { cause: error })
  }
}

function describeFailure(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error instanceof ConfigError || error instanceof StartError ? error.message : (error.stack ?? error.message)
}
