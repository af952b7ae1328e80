import { createHash } from 'node:crypto'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** The folder of this release's migrations. */
export const migrationsFolder = join(import.meta.dirname, '..', '..', '..', 'migrations')

/** One numbered migration. `up` and `down` are the SQL of `NNNN_name.up.sql` and `NNNN_name.down.sql`. */
export interface NumberedMigration {
  name: string
  up: string
  down: string
}

/** The current body of one function: `functions/<room>/<name>.sql`. */
export interface FunctionFile {
  /** `<name>.sql`, as the database records it. Without the folder, so that a file may move to another room. */
  file: string
  sql: string
  sha256: string
  /** The function that it creates, with its schema. Overloads share one file. */
  functionName: string
}

/** The migrations of one release; the numbered ones in order. */
export interface MigrationFiles {
  numbered: NumberedMigration[]
  functions: FunctionFile[]
}

const numberedName = /^(\d{4}_[a-z0-9_]+)\.(up|down)\.sql$/
const makesFunction = /^\s*create\s+(or\s+replace\s+)?(?:function|procedure)\s+([a-z0-9_]+\.[a-z0-9_]+)\s*\(/gim
// In PL/pgSQL no `begin` is followed by a semicolon, and functions cannot commit.
const endsTransaction = /^\s*(begin|commit|rollback)(\s+(work|transaction))?\s*;/im

/**
 * Reads and checks the migrations of a folder.
 * @throws Error for a file name that breaks the pattern, a missing up or down file, a number used twice, a statement that begins
 * or ends a transaction, a function file that does not create (or replace) the function it is named after, and two function
 * files of one name.
 */
export function readMigrationFiles(folder: string): MigrationFiles {
  return { numbered: readNumbered(folder), functions: readFunctions(join(folder, 'functions')) }
}

function readNumbered(folder: string): NumberedMigration[] {
  const names = new Set(
    listSql(folder).map((file) => {
      const name = numberedName.exec(file)?.[1]
      if (!name) throw new Error(`${file} is not named NNNN_name.up.sql or NNNN_name.down.sql`)
      return name
    }),
  )
  const numbered = [...names].sort().map((name) => ({
    name,
    up: readSql(folder, `${name}.up.sql`),
    down: readSql(folder, `${name}.down.sql`),
  }))
  numbered.forEach(({ name }, index) => {
    const next = numbered[index + 1]?.name
    if (next?.slice(0, 4) === name.slice(0, 4))
      throw new Error(`The migrations ${name} and ${next} have the same number`)
  })
  return numbered
}

function readFunctions(folder: string): FunctionFile[] {
  const paths = globSync('**/*.sql', { cwd: folder })
  return [...Map.groupBy(paths, (path) => basename(path))]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([file, [path, again]]) => {
      if (again !== undefined) throw new Error(`functions/${path} and functions/${again} have the same name`)
      const sql = readSql(folder, path!)
      const made = [...sql.matchAll(makesFunction)]
      const plain = made.find(([, orReplace]) => !orReplace)
      if (plain) throw new Error(`functions/${path} must say "create or replace" for ${plain[2]}`)
      const names = new Set(made.map(([, , name]) => name!.toLowerCase()))
      const [functionName] = names
      if (names.size !== 1 || functionName?.split('.')[1] !== basename(file, '.sql')) {
        throw new Error(
          `functions/${path} must create one function, named like the file; it creates ${[...names].join(', ') || 'none'}`,
        )
      }
      return { file, sql, sha256: createHash('sha256').update(sql).digest('hex'), functionName }
    })
}

function listSql(folder: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .sort()
}

function readSql(folder: string, file: string): string {
  const path = join(folder, file)
  if (!existsSync(path)) throw new Error(`The migration file ${file} is missing`)
  const sql = readFileSync(path, 'utf8')
  const statement = endsTransaction.exec(sql)?.[0].trim()
  if (statement) throw new Error(`${file} contains "${statement}", but each file runs inside the runner's transaction`)
  return sql
}
