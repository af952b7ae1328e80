import {
  Logger,
  parseCronItems,
  run,
  type Runner,
  type TaskList,
  type WorkerEvents,
  type WorkerPool,
} from 'graphile-worker'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobQueue } from '../db/pool/job-queue.ts'
import type { Job } from './list.ts'

/** So many jobs at once in a process. */
const JOBS_AT_ONCE = 3
/** A connection for each of them, and one that hears of new jobs. */
export const JOB_CONNECTIONS_MAX = JOBS_AT_ONCE + 1
const ATTEMPTS_MAX = 5
/** How long after a worker that ended, because it lost Postgres at a bad moment, the next one begins. */
const RESTART_MS = 5_000
/** How long a stop waits for the jobs that are running; then they go back to the queue. */
const FINISH_MS = 2_000
/** How long going back may take, and closing the connections; where Postgres is away neither works. */
const GIVE_UP_MS = 1_500

/** What the worker says, as pino takes it. */
export type WorkerLog = Record<'error' | 'warn' | 'debug' | 'trace', (fields: object, message: string) => void>

/** From one start of the package's worker to its end. */
type Life = { workers: WorkerPool; ended: Promise<unknown>; stop(): Promise<void> }

/**
 * Runs the jobs of a list at their times, from a queue that all instances share, until it is stopped.
 *
 * Starting is not waited for and never fails: where Postgres is away the worker goes on trying. What fails is logged, and
 * is nobody else's failure. A stop takes no longer than the bounds above.
 */
export function prepareJobs(queue: JobQueue, jobs: Job[], log: WorkerLog): { start(): void; stop(): Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  let life: Life | undefined
  let living: Promise<void> | undefined

  async function live(): Promise<void> {
    let gone: WorkerPool | undefined
    while (!signal.aborted) {
      try {
        if (gone !== undefined) await queue.unlock([gone.id])
        gone = undefined
        life = await startWorkers(queue, jobs, log)
        if (signal.aborted) return await life.stop()
        await life.ended
        gone = life.workers
      } catch (error) {
        log.error({ err: error }, 'the worker of jobs cannot start')
      }
      await sleep(RESTART_MS, undefined, { signal }).catch(() => {})
    }
  }

  return {
    start: () => {
      living = live()
    },
    stop: async () => {
      stopping.abort()
      await life?.stop()
      await within(GIVE_UP_MS, living)
      await within(GIVE_UP_MS, queue.pool.end())
    },
  }
}

async function startWorkers(queue: JobQueue, jobs: Job[], log: WorkerLog): Promise<Life> {
  const events: WorkerEvents = new EventEmitter()
  let workers: WorkerPool | undefined
  events.once('pool:create', ({ workerPool }) => {
    workers = workerPool
  })
  const released = once(events, 'pool:release')
  const runner = await run({
    pgPool: queue.pool,
    schema: queue.schema,
    taskList: toTaskList(jobs),
    parsedCronItems: parseCronItems(jobs.map(toCronItem)),
    events,
    logger: toLogger(log),
    concurrency: JOBS_AT_ONCE,
    // The process has handlers of its own.
    noHandleSignals: true,
    noPreparedStatements: true,
    // A job that runs hears of a stop at once.
    gracefulShutdownAbortTimeout: 0,
    // Not for their speed: without a batch nobody handles the failure to report a job's end, and it ends the process.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  })
  return { workers: workers!, ended: runner.promise, stop: () => stopWorkers(runner, workers!, released) }
}

/** Lets the jobs that are running end, or gives them back. The timetable is not waited for: it may be asleep. */
async function stopWorkers(runner: Runner, workers: WorkerPool, released: Promise<unknown>): Promise<void> {
  // It rejects where the runner is ending by itself.
  runner.stop().catch(() => {})
  if (await within(FINISH_MS, released)) return
  Promise.resolve(workers.forcefulShutdown('the service is stopping')).catch(() => {})
  await within(GIVE_UP_MS, released)
}

/** Whether it settled in time. */
function within(ms: number, work: Promise<unknown> | undefined): Promise<boolean> {
  const settled = () => true
  return Promise.race([Promise.resolve(work).then(settled, settled), sleep(ms, false, { ref: false })])
}

/** What the package calls for each job. */
export function toTaskList(jobs: Job[]): TaskList {
  return Object.fromEntries(jobs.map(({ name, run }) => [name, (_payload, { abortSignal }) => run(abortSignal)]))
}

/** The key leaves one waiting job of a name: a queue that nobody has worked on for long does not pile them up. */
function toCronItem({ name, cron, catchUpMs }: Job) {
  return {
    task: name,
    match: cron,
    options: { backfillPeriod: catchUpMs, maxAttempts: ATTEMPTS_MAX, jobKey: name },
  }
}

const LEVELS = { error: 'error', warning: 'warn', info: 'debug', debug: 'trace' } as const

function toLogger(log: WorkerLog): Logger {
  return new Logger((scope) => (level, message, { error }) => {
    const fields = { job: scope.taskIdentifier, worker: scope.workerId, ...(error === undefined ? {} : { err: error }) }
    log[LEVELS[level]](fields, message)
  })
}
