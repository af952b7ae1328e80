import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describeProcess } from './process-table.ts'

const fastShutdownMs = 5_000
const immediateShutdownMs = 5_000
const pollMs = 20

/**
 * Stops the server that a killed owner left running on this cluster, if there is one.
 *
 * The caller holds the owner lock. A `postmaster.pid` that names no server of this cluster (the pid went
 * to another program, say after a reboot) is removed: Postgres would refuse to start because of it.
 * @throws Error when the server is still there after both bounds (10 s together).
 */
export async function stopOrphan(cluster: string, log: (line: string) => void): Promise<void> {
  const pidFile = join(cluster, 'postmaster.pid')
  const pid = readPid(pidFile)
  if (pid === undefined) return
  if (!isServerOf(cluster, pid)) {
    rmSync(pidFile, { force: true })
    return
  }
  log(`stopping the Postgres that an earlier process left running (pid ${pid})`)
  process.kill(pid, 'SIGINT')
  if (await isGone(cluster, pid, fastShutdownMs)) return
  // Immediate shutdown: the next start recovers from it, as after a power cut.
  process.kill(pid, 'SIGQUIT')
  if (await isGone(cluster, pid, immediateShutdownMs)) return
  throw new Error(`The Postgres that an earlier process left running (pid ${pid}) does not stop`)
}

function readPid(pidFile: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10)
    return pid > 1 ? pid : undefined
  } catch {
    return undefined
  }
}

/** We start every server with its folder on the command line, so that it can be told from any other program. */
function isServerOf(cluster: string, pid: number): boolean {
  const commandLine = describeProcess(pid)?.commandLine ?? ''
  return `${commandLine.replaceAll('\0', ' ')} `.includes(` -D ${cluster} `)
}

async function isGone(cluster: string, pid: number, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs
  while (isServerOf(cluster, pid)) {
    if (Date.now() > deadline) return false
    await delay(pollMs)
  }
  return true
}
