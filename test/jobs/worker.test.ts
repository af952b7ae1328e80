import { addJobAdhoc } from 'graphile-worker'
import { once, EventEmitter } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openJobQueue } from '../../src/db/pool/job-queue.ts'
import type { Job } from '../../src/jobs/list.ts'
import { prepareJobs } from '../../src/jobs/worker.ts'
import { createDatabase } from '../helpers/database.ts'
import { startTcpProxy } from '../helpers/servers/tcp-proxy.ts'

const database = await createDatabase(t)
const { pool } = database

/** Collects log lines and job events. */
const told = new EventEmitter()
const lines: string[] = []
const tell = (level: string) => (_fields: object, message: string) => {
  lines.push(`${level} ${message}`)
  told.emit('line')
}
const log = { error: tell('error'), warn: tell('warn'), debug: tell('debug'), trace: tell('trace') }

/** Waits for a log line that matches, from line `from` on. */
async function said(pattern: RegExp, from = 0): Promise<void> {
  while (!lines.slice(from).some((line) => pattern.test(line))) await once(told, 'line')
}

/** Waits until a condition holds, and lets other work of this process run meanwhile. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await setImmediate()
}

const isEmpty = async () => (await waiting()).length === 0

const job = (name: string, run: Job['run']): Job => ({ name, cron: '0 0 1 1 *', catchUpMs: 0, run })

/** A worker as the service runs it, stopped at the end of the test. */
function startWorker(t: Test, jobs: Job[], databaseUrl = database.url) {
  const worker = prepareJobs(openJobQueue(databaseUrl, 4), jobs, log)
  worker.start()
  t.teardown(() => worker.stop())
  return worker
}

const add = (name: string) => addJobAdhoc({ pgPool: pool, schema: 'copilot_jobs' }, name, {}, { maxAttempts: 5 })
pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}))

async function waiting(): Promise<{ name: string; attempts: number; locked: boolean; error: string | null }[]> {
  const { rows } = await pool.query<{ name: string; attempts: number; locked: boolean; error: string | null }>(
    `select task_identifier as name, attempts, locked_at is not null as locked, last_error as error from copilot_jobs.jobs order by id`,
  )
  return rows
}

t.test('one of two workers does a job once, and the job leaves the queue', async (t) => {
  const done: string[] = []
  const worker = (name: string) => startWorker(t, [job('once', async () => void done.push(name))])
  const [first, second] = [worker('first'), worker('second')]
  for (let n = 0; n < 5; n += 1) await add('once')
  await until(async () => done.length >= 5 && (await isEmpty()))
  await Promise.all([first.stop(), second.stop()])
  t.equal(done.length, 5)
  t.same(await waiting(), [])
})

t.test('each job of the list is scheduled in the queue', async (t) => {
  const from = lines.length
  startWorker(t, [job('yearly', async () => {}), { ...job('daily', async () => {}), cron: '17 4 * * *' }])
  await said(/looking for jobs/, from)
  for (;;) {
    const { rows } = await pool.query(
      `select identifier from copilot_jobs._private_known_crontabs where identifier <> 'once' order by 1`,
    )
    if (rows.length < 2) continue
    t.same(rows, [{ identifier: 'daily' }, { identifier: 'yearly' }])
    return
  }
})

t.test('a failed job is logged, waits and is retried', async (t) => {
  const from = lines.length
  startWorker(t, [job('failing', () => Promise.reject(new Error('no feed')))])
  await add('failing')
  await said(/^error Failed task .* with error 'no feed'/, from)
  let [failed] = await waiting()
  while (failed!.locked) [failed] = await waiting()
  t.match(failed, { name: 'failing', attempts: 1, error: 'no feed' })
  await pool.query(`select copilot_jobs.complete_jobs(array(select id from copilot_jobs.jobs))`)
})

t.test('a worker that loses Postgres during a job reconnects and retries it', async (t) => {
  const { port } = new URL(database.url)
  const proxy = await startTcpProxy(t, Number(port))
  let runs = 0
  let end = () => {}
  const from = lines.length
  startWorker(
    t,
    [
      job('long', async () => {
        runs += 1
        told.emit('line')
        if (runs === 1) await new Promise<void>((resolve) => (end = resolve))
      }),
    ],
    proxy.through(database.url),
  )
  await said(/looking for jobs/, from)
  await add('long')
  while (runs === 0) await once(told, 'line')
  proxy.cut()
  end()
  // The job has ended, but its end cannot be reported: the queue would keep it locked, and the process would die of
  // the error.
  await said(/^error Failed to complete jobs/, from)
  proxy.mend()
  while (runs === 1) await once(told, 'line')
  await until(isEmpty)
  t.equal(runs, 2)
})

t.test('a worker that cannot reach Postgres at its start begins once it can', async (t) => {
  const { port } = new URL(database.url)
  const proxy = await startTcpProxy(t, Number(port))
  proxy.cut()
  let runs = 0
  const from = lines.length
  startWorker(t, [job('patient', async () => void (runs += 1))], proxy.through(database.url))
  await said(/cannot start/, from)
  await add('patient')
  proxy.mend()
  await said(/Completed task/, from)
  t.equal(runs, 1)
})

t.test('a stop waits for a job that obeys the signal, and returns a job that does not to the queue', async (t) => {
  let started = 0
  let heard = false
  const began = () => {
    started += 1
    told.emit('line')
  }
  const worker = startWorker(t, [
    job('heeding', async (signal) => {
      began()
      await once(signal, 'abort')
      heard = true
    }),
    job('deaf', async () => {
      began()
      await new Promise(() => {})
    }),
  ])
  await add('heeding')
  await add('deaf')
  while (started < 2) await once(told, 'line')
  await worker.stop()
  t.ok(heard)
  t.match(await waiting(), [{ name: 'deaf', attempts: 1, locked: false, error: 'the service is stopping' }])
  await pool.query(`select copilot_jobs.complete_jobs(array(select id from copilot_jobs.jobs))`)
})

t.test('a worker that never started or lost Postgres still stops', async (t) => {
  const idle = prepareJobs(openJobQueue(database.url, 4), [], log)
  await t.resolves(idle.stop())
  const { port } = new URL(database.url)
  const proxy = await startTcpProxy(t, Number(port))
  const from = lines.length
  const worker = startWorker(t, [job('idle', async () => {})], proxy.through(database.url))
  await said(/looking for jobs/, from)
  proxy.silence()
  await t.resolves(worker.stop())
})
