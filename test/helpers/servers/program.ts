import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const cacheFolder = join(import.meta.dirname, '..', '..', '..', '.cache')

/** How to start a program: its path, and the environment with its libraries. */
export interface Command {
  path: string
  env: NodeJS.ProcessEnv
}

/**
 * A program on the PATH, or else from the distribution's packages, unpacked into `.cache/<program>` (Debian and its
 * derivatives; nothing is installed on the system).
 * @throws Error that says how to get it.
 */
export async function findProgram(program: string, packages: string[]): Promise<Command> {
  const onPath = (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find(isExecutable)
  if (onPath) return { path: onPath, env: process.env }
  const folder = join(cacheFolder, program)
  try {
    if (!existsSync(folder)) await unpackPackages(folder, packages)
    const path = ['bin', 'sbin'].map((bin) => join(folder, 'usr', bin, program)).find(isExecutable) ?? ''
    return { path, env: { ...process.env, LD_LIBRARY_PATH: libraryFolders(folder).join(delimiter) } }
  } catch (cause) {
    throw new Error(`${program} is needed: put one on the PATH (${(cause as Error).message})`, { cause })
  }
}

async function unpackPackages(folder: string, packages: string[]): Promise<void> {
  mkdirSync(cacheFolder, { recursive: true })
  const draft = mkdtempSync(`${folder}-`)
  try {
    const options = { cwd: draft }
    const download = async () => run('apt-get', ['download', ...(await neededPackages(packages))], options)
    // The first try fails if the package lists are missing or name versions that no longer exist.
    await download().catch(async () => {
      await run('apt-get', ['update'], options)
      await download()
    })
    for (const file of readdirSync(draft).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', file, '.'], options)
      rmSync(join(draft, file))
    }
    try {
      renameSync(draft, folder)
    } catch (error) {
      // Another caller has unpacked the same packages meanwhile: use those.
      if (!existsSync(folder)) throw error
    }
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** The packages, and those of their libraries that this system lacks. */
async function neededPackages(packages: string[]): Promise<string[]> {
  const kinds = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map((kind) => `--no-${kind}`)
  const { stdout: dependencies } = await run('apt-cache', ['depends', '--recurse', ...kinds, ...packages])
  const { stdout: installed } = await run('dpkg-query', ['--show'])
  const present = new Set(installed.split('\n').map((line) => line.split(/[:\t]/)[0]))
  const libraries = dependencies
    .split('\n')
    .filter((name) => /^(lib|lua)[a-z0-9.+-]+$/.test(name) && !present.has(name))
  return [...packages, ...new Set(libraries)]
}

function libraryFolders(program: string): string[] {
  return ['lib', 'usr/lib']
    .map((folder) => join(program, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => [
      folder,
      ...readdirSync(folder)
        .filter((name) => name.includes('-linux-gnu'))
        .map((name) => join(folder, name)),
    ])
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
