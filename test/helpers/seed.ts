import type { Test } from 'tap'
import { readSeed } from './random.ts'

/** The seed of this run's random choices, printed so that PURSER_TEST_SEED can repeat them. */
export function printedSeed(t: Test): number {
  const seed = readSeed()
  t.comment(`random choices with seed ${seed}; PURSER_TEST_SEED repeats them`)
  return seed
}

/** A size from the environment, for larger runs than usual. */
export function sizeFrom(name: string, usual: number): number {
  const size = Number(process.env[name] ?? usual)
  if (!Number.isInteger(size) || size < 1) throw new Error(`${name} must be a whole number above 0`)
  return size
}
