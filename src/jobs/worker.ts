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

/** The most jobs that a process runs at once. */
const JOBS_AT_ONCE = 3
/** One connection for each job, and one that listens for new jobs. */
export const JOB_CONNECTIONS_MAX = JOBS_AT_ONCE + 1
const ATTEMPTS_MAX = 5
/** The pause before the next worker starts, after one ended because it lost Postgres. */
const RESTART_MS = 5_000
/** How long a stop waits for running jobs. Then they return to the queue. */
const FINISH_MS = 2_000
/**
 * How long a stop waits for jobs to return to the queue and for connections to close. Without Postgres neither works.
 */
const GIVE_UP_MS = 1_500

/** The log of the worker, as pino has it. */
export type WorkerLog = Record<'error' | 'warn' | 'debug' | 'trace', (fields: object, message: string) => void>

/** A running worker of graphile-worker, from its start to its end. */
type Life = { workers: WorkerPool; ended: Promise<unknown>; stop(): Promise<void> }

/**
 * Runs jobs at their times until stopped, from a queue that all instances share.
 *
 * Starting does not wait and never fails: without Postgres the worker keeps trying. Failures are logged and affect
 * nothing else. A stop takes at most as long as the bounds above.
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
    // The process has signal handlers of its own.
    noHandleSignals: true,
    noPreparedStatements: true,
    // Running jobs get the abort signal at once.
    gracefulShutdownAbortTimeout: 0,
    // Set for safety, not speed: without a batch, nothing handles a failure to report the end of a job, and the
    // process would end.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  })
  return { workers: workers!, ended: runner.promise, stop: () => stopWorkers(runner, workers!, released) }
}

/** Lets running jobs finish, or returns them to the queue. Does not wait for the timetable, which may be asleep. */
async function stopWorkers(runner: Runner, workers: WorkerPool, released: Promise<unknown>): Promise<void> {
  // It rejects if the runner is already ending by itself.
  runner.stop().catch(() => {})
  if (await within(FINISH_MS, released)) return
  Promise.resolve(workers.forcefulShutdown('the service is stopping')).catch(() => {})
  await within(GIVE_UP_MS, released)
}

/** Whether the work settled in time. */
function within(ms: number, work: Promise<unknown> | undefined): Promise<boolean> {
  const settled = () => true
  return Promise.race([Promise.resolve(work).then(settled, settled), sleep(ms, false, { ref: false })])
}

/** What the package calls for each job. */
export function toTaskList(jobs: Job[]): TaskList {
  return Object.fromEntries(jobs.map(({ name, run }) => [name, (_payload, { abortSignal }) => run(abortSignal)]))
}

/** The job key keeps at most one waiting job per name, so a queue that was idle for long does not fill up. */
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
