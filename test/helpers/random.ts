/** Random numbers that are repeatable by their seed: mulberry32. */
export interface Random {
  /** 0 up to, but not including, 1. */
  next(): number
  /** An integer from 0 up to, but not including, `below`. */
  below(below: number): number
  pick<Value>(values: readonly Value[]): Value
}

/** The seed of a run: PURSER_TEST_SEED, or a new one. */
export function readSeed(): number {
  return Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
}

export function randomOf(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return { next, below, pick: (values) => values[below(values.length)]! }
}
