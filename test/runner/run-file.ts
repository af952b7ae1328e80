import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { readTap, type TapResult } from './tap-result.ts'

const root = join(import.meta.dirname, '..', '..')

/** tap ends a file by itself at its own limit and says which test was running; this long after it the runner does. */
const GRACE_SECONDS = 15
/** What a file prints beside its TAP is shown where it fails: this much of it, from the end. */
const STDERR_CHARACTERS_MAX = 20_000
/** How long the output of a file that has exited may stay open. */
const OUTPUT_MS_MAX = 5_000

export interface FileResult extends TapResult {
  file: string
  seconds: number
  /** The end of what the file and its processes wrote to stderr. */
  stderr: string
}

/**
 * Runs one test file in a process of its own, and kills the processes that it leaves behind.
 *
 * @param timeoutSeconds a file that takes longer fails.
 * @param signal ends the file early; the tests put away what they have started.
 */
export async function runFile(
  file: string,
  env: NodeJS.ProcessEnv,
  timeoutSeconds: number,
  signal: AbortSignal,
): Promise<FileResult> {
  const begun = performance.now()
  const child = spawn(process.execPath, [file], {
    cwd: root,
    env: { ...env, TAP_TIMEOUT: String(timeoutSeconds) },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, so that a signal reaches also what the file has started.
    detached: true,
  })
  const end = (reason: NodeJS.Signals) => signalGroup(child.pid, reason)
  const interrupt = () => end('SIGTERM')
  signal.addEventListener('abort', interrupt)
  const timer = setTimeout(() => end('SIGKILL'), (timeoutSeconds + GRACE_SECONDS) * 1000)
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_CHARACTERS_MAX)
  })
  // What the file leaves behind may hold its output open.
  const exited = once(child, 'exit').then(([code, by]: (number | string | null)[]) => {
    end('SIGKILL')
    // A process outside the group may still hold the output open. What it would print is not waited for.
    setTimeout(() => child.stdout.destroy(), OUTPUT_MS_MAX).unref()
    return code ?? by
  })
  const [tap, code] = await Promise.all([readTap(child.stdout), exited])
  clearTimeout(timer)
  signal.removeEventListener('abort', interrupt)
  if (code !== 0 && tap.failed === 0) {
    tap.failed = 1
    tap.failures.push(`the file failed as a whole: it ended with ${code}`)
  }
  return { ...tap, file, stderr, seconds: (performance.now() - begun) / 1000 }
}

function signalGroup(leader: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (leader !== undefined) process.kill(-leader, signal)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error
  }
}
