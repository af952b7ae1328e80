import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { serverUser } from './server-user.ts'

/** The superuser of the embedded server. Its password is in the data folder. */
export const superuser = 'purser'

const unfinishedPrefix = 'postgres.unfinished-'

/** The environment of the server's programs: none of our variables, and the same on every machine. */
export const serverEnvironment = { LC_ALL: 'C', TZ: 'UTC' }

/**
 * Makes the database cluster in `dataDir/postgres` unless there is one, and reads its password.
 *
 * Safe to interrupt at any point: the cluster is made under another name and renamed when complete.
 * UTF-8, the same sort order on every system, passwords only (scram-sha-256).
 * @returns the cluster's folder and the superuser's password.
 * @throws Error with the output of `initdb`; Error when there is a cluster but no password.
 */
export async function ensureCluster(
  dataDir: string,
  binaries: string,
  sync: boolean,
): Promise<{ folder: string; password: string }> {
  const folder = join(dataDir, 'postgres')
  const passwordFile = join(dataDir, 'password')
  if (existsSync(folder)) {
    if (!existsSync(passwordFile))
      throw new Error(`The password of the database in ${folder} is missing: ${passwordFile}`)
    return { folder, password: readFileSync(passwordFile, 'utf8') }
  }
  removeUnfinished(dataDir)
  // A new name each time: the initdb of a killed owner may still be writing under the old one.
  const draft = mkdtempSync(join(dataDir, unfinishedPrefix))
  giveToServer(draft)
  const password = randomBytes(24).toString('base64url')
  rmSync(passwordFile, { force: true })
  writeFileSync(passwordFile, password, { mode: 0o600, flush: true })
  giveToServer(passwordFile)
  await initialise(draft, passwordFile, binaries, sync)
  renameSync(draft, folder)
  return { folder, password }
}

function removeUnfinished(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    if (name.startsWith(unfinishedPrefix)) rmSync(join(dataDir, name), { recursive: true, force: true })
  }
}

async function initialise(folder: string, passwordFile: string, binaries: string, sync: boolean): Promise<void> {
  const options = [
    ...['-D', folder, '--username', superuser, '--pwfile', passwordFile, '--auth', 'scram-sha-256'],
    // The builtin provider sorts by code point and knows the case of all letters, without any library of the system.
    ...['--encoding', 'UTF8', '--locale', 'C', '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8'],
    ...['--no-instructions', ...(sync ? [] : ['--no-sync'])],
  ]
  try {
    await promisify(execFile)(join(binaries, 'bin', 'initdb'), options, {
      env: serverEnvironment,
      cwd: folder,
      ...serverUser(),
    })
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    throw new Error(`initdb failed: ${stderr?.trim() || (error as Error).message}`, { cause: error })
  }
}

function giveToServer(path: string): void {
  const { uid, gid } = serverUser()
  if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid)
}
