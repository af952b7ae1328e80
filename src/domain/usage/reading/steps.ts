import { STEP_QUANTITIES, type Usage, type UsageStep } from '../normal-form.ts'

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

/** Distributes the total's reasoning over the steps, last first, up to each step's output. */
export function spreadReasoning(steps: UsageStep[], reasoning: number): void {
  let left = reasoning
  for (const step of steps.toReversed()) {
    const share = Math.min(left, step.output_tokens ?? 0)
    if (share > 0) step.reasoning_tokens = share
    left -= share
  }
}
