import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { defaultDataDir } from '../../src/embedded/postgres.ts'
import { isRoot } from '../../src/embedded/server-user.ts'
import { makeDataDir } from '../helpers/servers/embedded.ts'

function withDataHome(t: { teardown: (fn: () => void) => void }, folder: string): void {
  const before = process.env['XDG_DATA_HOME']
  t.teardown(() => {
    if (before === undefined) delete process.env['XDG_DATA_HOME']
    else process.env['XDG_DATA_HOME'] = before
  })
  process.env['XDG_DATA_HOME'] = folder
}

t.test('the data is in the user’s data folder', async (t) => {
  const home = makeDataDir(t)
  chmodSync(home, 0o755)
  withDataHome(t, home)
  t.equal(defaultDataDir(), join(home, 'purser'))
})

t.test('root, whose home the server cannot enter, keeps the data in the system’s folder', async (t) => {
  const home = makeDataDir(t)
  chmodSync(home, 0o700)
  withDataHome(t, home)
  t.equal(defaultDataDir(), isRoot() ? '/var/lib/purser' : join(home, 'purser'))
})
