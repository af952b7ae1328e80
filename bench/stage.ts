import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Runs a scenario and then undoes what it deferred to the stack, the last first, also after a failure and at Ctrl-C. */
export async function onStage<Result>(run: (stack: AsyncDisposableStack) => Promise<Result>): Promise<Result> {
  await using stack = new AsyncDisposableStack()
  process.once('SIGINT', () => void stack.disposeAsync().then(() => process.exit(130)))
  return await run(stack)
}

/** A temporary folder, deleted with the stack. */
export function openFolder(stack: AsyncDisposableStack): string {
  const folder = mkdtempSync(join(tmpdir(), 'purser-bench-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  // When root runs this, Postgres runs as another user, who has to pass through the folder.
  chmodSync(folder, 0o711)
  return folder
}

/** Writes a line of progress to stderr; only figures go to stdout. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
