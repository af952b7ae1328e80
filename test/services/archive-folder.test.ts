import { chmodSync, chownSync, lstatSync, mkdtempSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { closeArchiveFolder, makeArchiveFolder } from '../../src/services/archives/archive-folder.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/servers/service.ts'

const root = t.testdir()
const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8)
const [archive, manifest, part] = [
  'llm_cost_records_2026_06.jsonl.gz',
  'llm_cost_records_2026_06.manifest.json',
  'e2b_cost_records_2026_06.jsonl.gz.01980000-0000-7000-8000-000000000000.part',
] as const

/** A folder as an earlier release left it: readable by everybody, whatever the umask. */
function openFolder(mode: number, ...names: string[]): string {
  const folder = mkdtempSync(join(root, 'archive-'))
  for (const name of names) {
    writeFileSync(join(folder, name), 'costs')
    chmodSync(join(folder, name), 0o644)
  }
  chmodSync(folder, mode)
  return folder
}

t.test('the start makes an earlier release’s archive folder and its files private', async (t) => {
  for (const mode of [0o755, 0o775, 0o777, 0o700]) {
    const folder = openFolder(mode, archive, manifest, part)
    await closeArchiveFolder(folder)
    t.equal(modeOf(folder), '700')
    for (const name of [archive, manifest, part]) t.equal(modeOf(join(folder, name)), '600', name)
  }
})

t.test('a new archive folder is private at once, and a missing one is not an error', async (t) => {
  const folder = join(root, 'a', 'b')
  await closeArchiveFolder(folder)
  t.throws(() => statSync(folder), { code: 'ENOENT' })
  await makeArchiveFolder(folder)
  t.equal(modeOf(folder), '700')
})

t.test('a folder that others use is refused unchanged, with the reason', async (t) => {
  const cases: [folder: string, reason: RegExp][] = [
    [openFolder(0o755, archive, 'notes.txt'), /can be read by others and holds notes\.txt, which is no archive: set/],
    [openFolder(0o1777), /can be read by others and is for the files of all users: set PURSER_ARCHIVE_DIR/],
  ]
  for (const [folder, reason] of cases) {
    const before = modeOf(folder)
    await t.rejects(closeArchiveFolder(folder), { message: reason })
    await t.rejects(makeArchiveFolder(folder), { message: reason })
    t.equal(modeOf(folder), before)
  }
  t.equal(modeOf(join(cases[0]![0], archive)), '644')
  chmodSync(cases[0]![0], 0o700)
  await t.resolves(closeArchiveFolder(cases[0]![0]), 'a private folder may contain anything')
  t.equal(modeOf(join(cases[0]![0], 'notes.txt')), '644', 'its content stays unchanged')
})

t.test('a folder of another user is refused', async (t) => {
  // Root can change a folder's owner; other users take a folder that root owns.
  const isRoot = process.getuid!() === 0
  const folder = isRoot ? openFolder(0o700) : '/'
  if (isRoot) chownSync(folder, 65_534, 65_534)
  await t.rejects(closeArchiveFolder(folder), { message: /belongs to user \d+, and this is user \d+: give it to user/ })
})

t.test('a symbolic link with the name of an archive is not followed', async (t) => {
  const folder = openFolder(0o755)
  const elsewhere = join(openFolder(0o755, 'notes.txt'), 'notes.txt')
  symlinkSync(elsewhere, join(folder, archive))
  await closeArchiveFolder(folder)
  t.equal(modeOf(elsewhere), '644')
  t.ok(lstatSync(join(folder, archive)).isSymbolicLink())
})

t.test('a start of the service makes the folder private or says why it cannot', async (t) => {
  const database = await createDatabase(t)
  const mended = openFolder(0o755, archive)
  const first = await startService(t, database.url, { PURSER_ARCHIVE_DIR: mended })
  t.same([modeOf(mended), modeOf(join(mended, archive))], ['700', '600'])
  t.notMatch(first.output(), 'not archiving')
  const shared = openFolder(0o755, 'notes.txt')
  const second = await startService(t, database.url, { PURSER_ARCHIVE_DIR: shared })
  t.match(second.output(), /not archiving: The archive folder .* holds notes\.txt, which is no archive/)
  t.equal((await second.call('GET', '/readyz')).status, 200)
})
