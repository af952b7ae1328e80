import { homedir } from 'node:os'
import { join } from 'node:path'
import { firstClosedFolder } from './server-user.ts'

const systemDataDir = '/var/lib/purser'

/**
 * The folder that keeps the embedded Postgres and its data where none is named: outside the checkout,
 * `$XDG_DATA_HOME/purser` or `~/.local/share/purser`.
 *
 * For root it is `/var/lib/purser` where the server's user could not enter the home.
 */
export function defaultDataDir(): string {
  const perUser = join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'purser')
  return firstClosedFolder(perUser) === undefined ? perUser : systemDataDir
}
