import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeProcess } from './process-table.ts'

interface Owner {
  pid: number
  startedAt: string
}

/**
 * Makes this process the owner of the data folder until the returned function is called.
 *
 * An owner that died (kill -9 included) is recognised by its pid and start time, and replaced.
 * @throws Error when another live process, or this one, owns the folder already.
 */
export function acquireOwnerLock(dataDir: string): () => void {
  const path = join(dataDir, 'owner.json')
  const owner = readOwner(path)
  if (owner && describeProcess(owner.pid)?.startedAt === owner.startedAt) {
    throw new Error(`The data folder ${dataDir} is in use by the running process ${owner.pid} (see ${path})`)
  }
  const own: Owner = { pid: process.pid, startedAt: describeProcess(process.pid)?.startedAt ?? '' }
  // Written beside and renamed, so that no reader ever sees half a file.
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify(own), { mode: 0o600 })
  renameSync(draft, path)
  return () => {
    if (readOwner(path)?.pid === process.pid) rmSync(path, { force: true })
  }
}

function readOwner(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner
  } catch {
    return undefined
  }
}
