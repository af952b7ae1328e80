import { execFileSync } from 'node:child_process'
import { chmodSync, lstatSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { copyOnce, locateBinaries, makeLinks } from '../../src/embedded/binaries.ts'
import { isRoot, serverUser } from '../../src/embedded/server-user.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'

function runAsServer(folder: string): string {
  return execFileSync(join(folder, 'bin', 'postgres'), ['--version'], {
    encoding: 'utf8',
    cwd: '/',
    env: {},
    ...serverUser(),
  })
}

function makeOpenFolder(t: Test): string {
  const folder = makeDataDir(t)
  chmodSync(folder, 0o755)
  return folder
}

function listLinks(folder: string): string[] {
  return readdirSync(join(folder, 'lib'))
    .filter((name) => lstatSync(join(folder, 'lib', name)).isSymbolicLink())
    .sort()
}

t.test('the binaries run as the server’s user', async (t) => {
  t.match(runAsServer(locateBinaries()), /^postgres \(PostgreSQL\) 18\./)
})

t.test('the links between libraries are made when the install script did not run', async (t) => {
  const folder = copyOnce(locateBinaries(), join(makeOpenFolder(t), 'copy'))
  const before = listLinks(folder)
  t.not(before.length, 0)
  for (const link of before) rmSync(join(folder, 'lib', link))
  makeLinks(folder)
  t.same(listLinks(folder), before)
  for (const link of before)
    t.notMatch(readlinkSync(join(folder, 'lib', link)), '/', `${link} points into its own folder`)
  t.match(runAsServer(folder), /PostgreSQL/)
})

t.test('a copy works for the server’s user under any umask, and is made once', async (t) => {
  const parent = makeOpenFolder(t)
  const umask = process.umask(0o077)
  t.teardown(() => process.umask(umask))
  const copy = copyOnce(locateBinaries(), join(parent, 'copy'))
  t.match(runAsServer(copy), /PostgreSQL/)
  const { ino } = statSync(copy)
  t.equal(statSync(copyOnce(locateBinaries(), copy)).ino, ino)
  t.same(readdirSync(parent), ['copy'], 'no unfinished copy is left')
})

t.test('a folder that the server’s user cannot enter is refused', async (t) => {
  const parent = makeDataDir(t)
  if (isRoot()) t.throws(() => copyOnce(locateBinaries(), join(parent, 'copy')), { message: `cannot enter ${parent}` })
  else t.match(runAsServer(copyOnce(locateBinaries(), join(parent, 'copy'))), /PostgreSQL/)
})
