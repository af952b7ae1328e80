import { chmod, lstat, mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

const FOLDER_MODE = 0o700
export const FILE_MODE = 0o600
/** Mode bits: any permission of the group or of others. */
const OTHERS = 0o077
/** Mode bit of a folder in which all users may create files, as in /tmp. */
const STICKY = 0o1000

const ARCHIVE = /^(?:llm|e2b)_cost_records_\w+\.(?:jsonl\.gz|manifest\.json)(?:\.[0-9a-f-]{36}\.part)?$/
/** The folder that a file system creates at the root of a volume. */
const LOST_AND_FOUND = 'lost+found'

/** Creates the archive folder, closed to other users, or closes the existing one. @throws Error as closeArchiveFolder(). */
export async function makeArchiveFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE })
  await closeArchiveFolder(folder)
}

/**
 * Removes other users' access to the archive folder and its files, because they hold the costs of all tenants. Does nothing
 * if there is no folder.
 *
 * @throws Error that says why and what to do, with the folder unchanged, if it belongs to another user or is shared: closing
 * it would lock other programs out of their own files.
 */
export async function closeArchiveFolder(folder: string): Promise<void> {
  const user = process.getuid?.()
  const found = await stat(folder).catch(ignoreMissing)
  if (user === undefined || found === null) return
  const refuse = (why: string) => new Error(`The archive folder ${folder} ${why}`)
  if (found.uid !== user) {
    throw refuse(`belongs to user ${found.uid}, and this is user ${user}: give it to user ${user} (chown)`)
  }
  const names = await readdir(folder)
  if ((found.mode & OTHERS) !== 0) {
    const foreign = names.find((name) => !ARCHIVE.test(name) && name !== LOST_AND_FOUND)
    const shared =
      (found.mode & STICKY) !== 0 ? 'is for the files of all users' : `holds ${foreign}, which is no archive`
    if ((found.mode & STICKY) !== 0 || foreign !== undefined) {
      throw refuse(
        `can be read by others and ${shared}: set PURSER_ARCHIVE_DIR to a folder of its own, or close it (chmod 700)`,
      )
    }
    await chmod(folder, FOLDER_MODE)
    // Some file systems accept chmod and ignore it.
    if (((await stat(folder)).mode & OTHERS) !== 0) {
      throw refuse('can be read by others, and its file system does not let it be closed')
    }
  }
  for (const name of names.filter((one) => ARCHIVE.test(one))) {
    const file = join(folder, name)
    const entry = await lstat(file).catch(ignoreMissing)
    if (entry?.isFile() && (entry.mode & OTHERS) !== 0) await chmod(file, FILE_MODE).catch(ignoreMissing)
  }
}

/** Ignores a missing file: another instance may just have renamed or deleted it. */
function ignoreMissing(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}
