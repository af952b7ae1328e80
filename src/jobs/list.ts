import { keepRetention } from '../services/archives/retention.ts'
import { preparePartitions } from '../services/costs/partitions.ts'
import { rollUp } from '../services/costs/roll-up.ts'
import { watchCosts } from '../services/costs/watch-costs.ts'
import type { Deps } from '../services/deps.ts'
import { watchIntegrity } from '../services/integrity.ts'
import { keepPricesCurrent } from '../services/prices/price-sync.ts'
import { giveDefaults } from '../services/quotas/quota-defaults.ts'

/** A background job of the service: when it runs, and which use case it calls. */
export type Job = {
  /** The name in the queue and the log. Never change it. */
  name: string
  /** The five fields of a crontab, in UTC. One of all instances does the work. */
  cron: string
  /** If no instance ran at a due time, the next start within this time catches up. */
  catchUpMs: number
  /**
   * Does the work. A failure is logged and retried up to ATTEMPTS_MAX times, with growing pauses. If the process dies
   * meanwhile, the work may be done twice, so repeating it must be harmless.
   *
   * @param signal aborts when the service stops: work that takes more than two seconds from then on is retried
   * elsewhere.
   */
  run: (signal: AbortSignal) => Promise<void>
}

/** The log of jobs, as pino has it. */
export type JobLog = Record<'info' | 'warn', (fields: object, message: string) => void>

const HOUR_MS = 3_600_000
/** The most names of waiting prices in the log. A dry run of the sync lists all. */
const NAMES_MAX = 20

/** All jobs that run on a timetable. The sweep of lapsed holds is not one of them: every process does it each second. */
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
      // Costs are recorded a little after they occur.
      cron: '7 * * * *',
      catchUpMs: HOUR_MS,
      run: () => watchCosts(maintenance),
    },
    {
      name: 'integrity-watch',
      cron: '37 * * * *',
      // Not caught up at a start: holds that lapsed while no instance ran are still being settled then.
      catchUpMs: 0,
      run: async () => {
        await watchIntegrity(maintenance)
      },
    },
    { name: 'roll-up', cron: '* * * * *', catchUpMs: 0, run: (signal) => rollUp(maintenance, signal) },
    // Gives defaults that neither their own request nor a start got to.
    { name: 'give-defaults', cron: '* * * * *', catchUpMs: 0, run: () => giveDefaults(deps) },
    // Booking creates a missing partition too. Creating it ahead saves callers the wait at the end of a month.
    { name: 'cost-partitions', cron: '7 3 * * *', catchUpMs: 24 * HOUR_MS, run: () => preparePartitions(deps) },
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
  log.info({ added: added.length, unchanged, data_at: dataAt }, 'prices are up to date with their sources')
  if (unread.length > 0) log.warn({ sources: unread }, 'a price source is out of reach')
  if (disagreements.length > 0)
    log.warn(waiting(disagreements), 'price sources disagree: these prices wait for an administrator')
  if (heldBack.length > 0) log.warn(waiting(heldBack), 'price changes are held back for an administrator')
  if (stale) log.warn({ data_at: dataAt }, 'price data is stale')
}

function waiting(prices: { provider: string; model: string }[]): object {
  const names = [...new Set(prices.map(({ provider, model }) => `${provider} ${model}`))]
  return { count: names.length, models: names.slice(0, NAMES_MAX) }
}
