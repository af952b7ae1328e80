import { homedir } from 'node:os'
import { join } from 'node:path'
import { firstClosedFolder } from './server-user.ts'

const systemDataDir = '/var/lib/purser'

/**
 * The default folder of the embedded Postgres and its data, outside the checkout: `$XDG_DATA_HOME/purser` or
 * `~/.local/share/purser`.
 *
 * For root it is `/var/lib/purser` when the server's user cannot enter root's home.
 */
export function defaultDataDir(): string {
  const perUser = join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'purser')
  return firstClosedFolder(perUser) === undefined ? perUser : systemDataDir
}
