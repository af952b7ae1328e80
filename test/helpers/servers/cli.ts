import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { processEnvironment } from './start-arguments.ts'

export type CliResult = { code: number | null; stdout: string; stderr: string }

/** Runs a command of src/cli on a database, as a separate process. */
export function runCli(name: string, databaseUrl: string, args: string[], input = ''): Promise<CliResult> {
  return new Promise((resolve) => {
    const env = { ...processEnvironment(), DATABASE_URL: databaseUrl }
    const file = join(import.meta.dirname, '..', '..', '..', 'src', 'cli', `${name}.ts`)
    const child = execFile(process.execPath, [file, ...args], { env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    )
    child.stdin!.end(input)
  })
}
