import { STEP_QUANTITIES, USAGE_QUANTITIES, type Usage, type UsageStep } from '../normal-form.ts'

/** A usage as one of several requests: its tokens. */
export function stepOf(usage: Usage): UsageStep {
  const step: UsageStep = {}
  for (const name of STEP_QUANTITIES) if (usage[name]) step[name] = usage[name]
  return step
}

export function addSteps(steps: readonly UsageStep[]): UsageStep {
  const sum: UsageStep = {}
  for (const step of steps) {
    for (const name of STEP_QUANTITIES) if (step[name]) sum[name] = (sum[name] ?? 0) + step[name]
  }
  return sum
}

/** Adds another usage's quantities, but for its steps; its tier and region stand where the first has none. */
export function addUsage(usage: Usage, { steps: _steps, ...other }: Usage): void {
  for (const name of USAGE_QUANTITIES) {
    const count = other[name]
    if (count !== undefined) usage[name] = (usage[name] ?? 0) + count
  }
  const { service_tier: tier, region } = other
  if (tier !== undefined) usage.service_tier ??= tier
  if (region !== undefined) usage.region ??= region
}

/** Gives reasoning that is known for the whole only to the steps, from the last on, as much as each one's output takes. */
export function spreadReasoning(steps: UsageStep[], reasoning: number): void {
  let left = reasoning
  for (const step of steps.toReversed()) {
    const share = Math.min(left, step.output_tokens ?? 0)
    if (share > 0) step.reasoning_tokens = share
    left -= share
  }
}
