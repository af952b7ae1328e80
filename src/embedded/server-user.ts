import { statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/** Postgres refuses to run as root; this is `nobody` on Linux, and needs no entry in the user list. */
const unprivilegedId = 65534

/** Whether this process is root, so that the server has to run as another user. */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** The uid and gid that the server's processes are started with; empty unless this process is root. */
export function serverUser(): { uid?: number; gid?: number } {
  return isRoot() ? { uid: unprivilegedId, gid: unprivilegedId } : {}
}

/**
 * The first folder on the way to `path` that the server's user cannot enter, or undefined.
 *
 * Folders that do not exist yet count as open: we create them that way.
 */
export function firstClosedFolder(path: string): string | undefined {
  if (!isRoot()) return undefined
  const folders: string[] = []
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    folders.unshift(folder)
    if (folder === dirname(folder)) break
  }
  return folders.find((folder) => {
    const stat = statSync(folder, { throwIfNoEntry: false })
    return stat !== undefined && stat.isDirectory() && !enterable(stat)
  })
}

function enterable(stat: { mode: number; uid: number; gid: number }): boolean {
  if (stat.uid === unprivilegedId) return (stat.mode & 0o100) !== 0
  if (stat.gid === unprivilegedId) return (stat.mode & 0o010) !== 0
  return (stat.mode & 0o001) !== 0
}
