import { USAGE_QUANTITIES, type UsageStep } from '../normal-form.ts'
import type { Reading } from '../reading/reading.ts'
import { usageStep } from '../reading/steps.ts'

/** Most expensive first. An unknown tier is priced as standard with a warning, so it ranks just above standard. */
const TIERS = ['ultrafast', 'fast', 'priority', 'unknown', 'standard', 'flex', 'batch']

const rankOf = (tier: string) => TIERS.indexOf(TIERS.includes(tier) ? tier : 'unknown')

/**
 * Adds one step of a call to the sum. If the steps were served by several tiers, the most expensive one prices them
 * all, with a note.
 *
 * @param requests collects the requests that the steps are.
 */
export function addStep(sum: Reading, { usage, notes, pointers, reportedUsd }: Reading, requests: UsageStep[]): void {
  const isFirst = Object.keys(sum.usage).length === 0
  for (const name of USAGE_QUANTITIES) {
    const count = usage[name]
    if (count !== undefined) sum.add(name, { count, pointer: pointers[name] ?? '' })
  }
  sum.notes.push(...notes)
  sum.servedIn(usage.region, pointers.region ?? '')
  sum.searched(usage.search_context)
  addTier(sum, usage.service_tier ?? 'standard', pointers.service_tier ?? '', isFirst)
  const reported = isFirst ? reportedUsd : sum.reportedUsd
  sum.reportedUsd =
    isFirst || reported === undefined || reportedUsd === undefined
      ? reported && reportedUsd
      : { ...reported, count: reported.count + reportedUsd.count }
  requests.push(...(usage.steps ?? [usageStep(usage)]))
}

function addTier(sum: Reading, tier: string, pointer: string, isFirst: boolean): void {
  const { service_tier: before = 'standard' } = sum.usage
  if (!isFirst && before !== tier) {
    sum.noteAssumed(pointer, `steps were served as ${before} and ${tier}; all are priced as the dearer`)
    if (rankOf(tier) > rankOf(before)) return
  }
  if (tier === 'standard' && isFirst) return
  sum.usage.service_tier = tier
  sum.pointers.service_tier = pointer
}
