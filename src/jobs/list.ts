import { keepRetention } from '../services/archives/retention.ts'
import { preparePartitions } from '../services/costs/partitions.ts'
import { rollUp } from '../services/costs/roll-up.ts'
import { watchCosts } from '../services/costs/watch-costs.ts'
import type { Deps } from '../services/deps.ts'
import { watchIntegrity } from '../services/integrity.ts'
import { keepPricesCurrent } from '../services/prices/price-sync.ts'
import { giveDefaults } from '../services/quotas/quota-defaults.ts'

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

/** What jobs have to tell, as pino takes it. */
export type JobLog = Record<'info' | 'warn', (fields: object, message: string) => void>

const HOUR_MS = 3_600_000
/** So many names of what waits for an administrator stand in the log; a dry run of the sync lists all. */
const NAMES_MAX = 20

/** Everything that the service does by the clock, but for the sweep of lapsed holds, which every process does each second. */
export function listJobs(deps: Deps, log: JobLog): Job[] {
  const maintenance = { db: deps.maintenanceDb }
  return [
    {
      name: 'price-sync',
      cron: '17 4 * * *',
      catchUpMs: 24 * HOUR_MS,
      run: () => runPriceSync(deps, log),
    },
    {
      name: 'cost-watch',
      // Costs come a little later than they occur.
      cron: '7 * * * *',
      catchUpMs: HOUR_MS,
      run: () => watchCosts(maintenance),
    },
    {
      name: 'integrity-watch',
      cron: '37 * * * *',
      // Not at a start: what lapsed while nobody was there is just being settled.
      catchUpMs: 0,
      run: async () => {
        await watchIntegrity(maintenance)
      },
    },
    { name: 'roll-up', cron: '* * * * *', catchUpMs: 0, run: (signal) => rollUp(maintenance, signal) },
    // What a default's own request or start did not come to.
    { name: 'give-defaults', cron: '* * * * *', catchUpMs: 0, run: () => giveDefaults(deps) },
    // Booking makes a partition that is missing, too; made ahead, nobody waits for it at a month's end.
    {
      name: 'cost-partitions',
      cron: '7 3 * * *',
      catchUpMs: 24 * HOUR_MS,
      run: () => preparePartitions(deps),
    },
    {
      name: 'retention',
      cron: '23 3 * * *',
      catchUpMs: 24 * HOUR_MS,
      run: async (signal) => {
        const { failed } = await keepRetention({ ...deps.retention, ...maintenance }, signal)
        if (failed.length > 0) throw new Error(failed.map(({ what, reason }) => `${what}: ${reason}`).join('; '))
      },
    },
  ]
}

async function runPriceSync(deps: Deps, log: JobLog): Promise<void> {
  const { added, unchanged, disagreements, held_back: heldBack, sources, dataAt, stale } = await keepPricesCurrent(deps)
  const unread = sources.filter(({ status }) => status === 'unread')
  log.info({ added: added.length, unchanged, data_at: dataAt }, 'prices are in step with their sources')
  if (unread.length > 0) log.warn({ sources: unread }, 'a source of prices is out of reach')
  if (disagreements.length > 0)
    log.warn(waiting(disagreements), 'prices that the sources disagree about wait for an administrator')
  if (heldBack.length > 0) log.warn(waiting(heldBack), 'changes of prices are held back for an administrator')
  if (stale) log.warn({ data_at: dataAt }, 'price data is stale')
}

function waiting(prices: { provider: string; model: string }[]): object {
  const names = [...new Set(prices.map(({ provider, model }) => `${provider} ${model}`))]
  return { count: names.length, models: names.slice(0, NAMES_MAX) }
}
