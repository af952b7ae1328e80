import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../src/embedded/postgres.ts'

/** Runs a bench; what it defers to the stack is ended afterwards, the last first, also where it fails and at Ctrl-C. */
export async function onStage<Result>(bench: (stack: AsyncDisposableStack) => Promise<Result>): Promise<Result> {
  await using stack = new AsyncDisposableStack()
  process.once('SIGINT', () => void stack.disposeAsync().then(() => process.exit(130)))
  return await bench(stack)
}

/** A folder that is gone with the stack. */
export function openFolder(stack: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), 'purser-bench-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(folder, 0o711)
  return folder
}

/** An embedded Postgres that flushes to disk, on a folder of its own; both are gone with the stack. */
export async function startPostgres(
  stack: AsyncDisposableStack,
  settings: Record<string, string> = {},
): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir: join(openFolder(stack), 'postgres'), settings })
  stack.defer(() => postgres.stop())
  return postgres
}

/** Progress; the figures alone go to the output. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

export function median(numbers: number[]): number {
  return quantile(numbers, 0.5)
}

/** The number that a share (0 to 1) of the others does not exceed; 0 of none. */
export function quantile(numbers: number[], share: number): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor((numbers.length - 1) * share)] ?? 0
}
