import type { Services } from '../services/index.ts'

/** One kind of work that the service does by itself: when, and which use case. */
export type Job = {
  /** Stands in the queue and in the log, so it keeps its meaning. */
  name: string
  /** The five fields of a crontab, in UTC. All instances know the time, one of them does the work. */
  cron: string
  /** A time that was missed is made up for at the next start, if that comes so soon. */
  catchUpMs: number
  /**
   * Does the work. A failure is logged and tried again, up to ATTEMPTS_MAX times, ever later; a process that dies on the
   * way may have it done twice, so doing it again has to be harmless.
   *
   * @param signal tells that the service is stopping: what has not ended two seconds later is tried again elsewhere.
   */
  run: (signal: AbortSignal) => Promise<void>
}

const HOUR_MS = 3_600_000

/** Everything that the service does by the clock, but for the sweep of lapsed holds, which every process does each second. */
export function listJobs(services: Services): Job[] {
  return [
    {
      name: 'price-sync',
      cron: '17 4 * * *',
      catchUpMs: 24 * HOUR_MS,
      run: async () => {
        await services.syncPrices({ dry_run: false })
      },
    },
    { name: 'roll-up', cron: '* * * * *', catchUpMs: 0, run: (signal) => services.rollUp(signal) },
    // Booking makes a partition that is missing, too; made ahead, nobody waits for it at a month's end.
    { name: 'cost-partitions', cron: '7 3 * * *', catchUpMs: 24 * HOUR_MS, run: () => services.preparePartitions() },
    {
      name: 'retention',
      cron: '23 3 * * *',
      catchUpMs: 24 * HOUR_MS,
      run: async (signal) => {
        await services.keepRetention(signal)
      },
    },
  ]
}
