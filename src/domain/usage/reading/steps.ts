import { STEP_QUANTITIES, type Usage, type UsageStep } from '../normal-form.ts'

/** The tokens of a usage, as one of several requests. */
export function usageStep(usage: Usage): UsageStep {
  const step: UsageStep = {}
  for (const name of STEP_QUANTITIES) if (usage[name]) step[name] = usage[name]
  return step
}

/** Whether the requests add up to the whole, in every quantity. */
export function isSumOf(steps: readonly UsageStep[], whole: UsageStep): boolean {
  return STEP_QUANTITIES.every((name) => steps.reduce((sum, step) => sum + (step[name] ?? 0), 0) === (whole[name] ?? 0))
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
