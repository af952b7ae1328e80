export function median(numbers: number[]): number {
  return quantile(numbers, 0.5)
}

/** The number that a share (0 to 1) of all numbers does not exceed; 0 where there are none. */
export function quantile(numbers: number[], share: number): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) * share)] ?? 0
}

/** Milliseconds that the work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** A line of a table: a name, and values below those of the other lines. */
export function row(name: string, values: string[]): string {
  return name.padEnd(18) + values.map((value) => value.padStart(12)).join('')
}
