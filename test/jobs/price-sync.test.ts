import { Logger, addJobAdhoc, runOnce } from 'graphile-worker'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openSharedCache } from '../../src/cache/shared.ts'
import { connect } from '../../src/db/pool/connection.ts'
import { openJobQueue } from '../../src/db/pool/job-queue.ts'
import { listJobs } from '../../src/jobs/list.ts'
import { toTaskList } from '../../src/jobs/worker.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'
import { openTestDeps } from '../helpers/deps.ts'

const database = await createDatabase(t)
const { pool } = database
// Later than every edition of the overlay, so that the feed is the newest data.
await setNow(database, '2036-11-20T10:00:00Z')
const folder = mkdtempSync(join(tmpdir(), 'purser-feed-'))
const feed = join(folder, 'feed.json')

const db = connect(database.url, { connectionsMax: 2, statementMs: 20_000 })
const shared = openSharedCache(undefined, '', () => {})
t.teardown(async () => {
  await Promise.all([db.destroy(), shared.close()])
  rmSync(folder, { recursive: true })
})

const logged: string[] = []
const log = {
  info: (fields: object, message: string) => void logged.push(`info ${message} ${JSON.stringify(fields)}`),
  warn: (fields: object, message: string) => void logged.push(`warn ${message} ${JSON.stringify(fields)}`),
}
const deps = await openTestDeps(db, shared, { priceFeed: feed })

/** Queues the job and runs it, as the worker does. Returns what it logged. */
async function runJob(): Promise<string[]> {
  logged.length = 0
  const queue = openJobQueue(database.url, 2)
  const options = {
    pgPool: queue.pool,
    schema: queue.schema,
    noHandleSignals: true,
    logger: new Logger(() => () => {}),
  }
  await addJobAdhoc(options, 'price-sync', {})
  await runOnce({ ...options, taskList: toTaskList(listJobs(deps, log)) })
  await queue.pool.end()
  const { rows } = await pool.query('select task_identifier, last_error from copilot_jobs.jobs')
  if (rows.length > 0) throw new Error(JSON.stringify(rows))
  return [...logged]
}

function writeFeed(models: Record<string, object>, at: string): void {
  const list = Object.entries(models).map(([id, prices]) => ({ id, match: { equals: id }, prices }))
  writeFileSync(feed, JSON.stringify([{ id: 'openai', models: list }]))
  utimesSync(feed, new Date(at), new Date(at))
}

async function eventsOf(): Promise<{ data_at: string; days: number }[]> {
  const { rows } = await pool.query<{ data: { data_at: string; days: number } }>(
    `select data from copilot_internal.quota_events where type = 'price.stale' order by event_id`,
  )
  return rows.map(({ data }) => data)
}

async function inputOf(model: string): Promise<string | null> {
  const { rows } = await pool.query<{ input: string | null }>(
    `select usd_per_mtok ->> 'input' as input from copilot_internal.find_model_price('openai', $1, copilot_internal.clock_now())`,
    [model],
  )
  return rows[0]!.input
}

t.test('the job publishes undisputed prices, and logs those that wait for an administrator', async (t) => {
  const before = await inputOf('gpt-4.1')
  t.ok(before)
  writeFeed(
    {
      'brand-new': { input_mtok: 3, output_mtok: 9 },
      // The second source has another price.
      'gpt-4.1': { input_mtok: Number(before) * 1.5, output_mtok: 8, cache_read_mtok: 0.5 },
      'negative-one': { input_mtok: -1, output_mtok: 2 },
    },
    '2036-11-20T09:00:00Z',
  )
  const lines = await runJob()
  t.equal(await inputOf('brand-new'), '3')
  t.equal(await inputOf('gpt-4.1'), before)
  t.equal(await inputOf('negative-one'), null)
  t.match(lines, [
    /^info prices are up to date .*"data_at":"2036-11-20T09:00:00/,
    /^warn price sources disagree: .*"count":1,"models":\["openai gpt-4.1"\]/,
    /^warn price changes are held back .*negative-one/,
  ])
  t.same(await eventsOf(), [], 'the data is from today')
})

t.test('data older than 14 days emits price.stale, once a day, until there is newer data', async (t) => {
  rmSync(feed)
  await setNow(database, '2036-12-04T09:00:00Z')
  t.match(await runJob(), [/^info/, /^warn a price source is out of reach/])
  t.same(await eventsOf(), [], 'exactly 14 days old')

  await setNow(database, '2036-12-04T09:00:01Z')
  t.match((await runJob()).at(-1), /^warn price data is stale .*"data_at":"2036-11-20T09:00:00/)
  await runJob()
  t.same(await eventsOf(), [{ data_at: '2036-11-20T09:00:00+00:00', days: 14 }], 'once a day')

  await setNow(database, '2036-12-06T04:17:00Z')
  await runJob()
  const told = await eventsOf()
  t.match(told, [{ days: 14 }, { days: 15 }])

  writeFeed({ 'brand-new': { input_mtok: 3, output_mtok: 9 } }, '2036-12-06T00:00:00Z')
  t.match(await runJob(), [/"data_at":"2036-12-06T00:00:00/])
  rmSync(feed)
  t.notMatch((await runJob()).join('\n'), 'stale', 'an earlier read counts even if the feed is unreachable again')
  t.same(await eventsOf(), told)
})
