import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** A process as the system describes it: enough to tell it from a later one with the same pid. */
export interface ProcessDescription {
  /** When it started, in a form that is only good for comparing. */
  startedAt: string
  /** Its command line; a NUL (Linux) or a space (others) separates the arguments. */
  commandLine: string
}

/** Describes the live process `pid`; undefined when there is none (a zombie counts as none). */
export function describeProcess(pid: number): ProcessDescription | undefined {
  return process.platform === 'linux' ? describeFromProc(pid) : describeFromPs(pid)
}

function describeFromProc(pid: number): ProcessDescription | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command's name stands in parentheses and may itself contain blanks: count fields after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state, startedAt] = [fields[0], fields[19]]
    if (state === 'Z' || startedAt === undefined) return undefined
    return { startedAt, commandLine: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }
  } catch {
    return undefined
  }
}

function describeFromPs(pid: number): ProcessDescription | undefined {
  try {
    const options = { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } } as const
    const line = execFileSync('ps', ['-o', 'stat=,lstart=,command=', '-p', String(pid)], options).trim()
    const [, state, startedAt, commandLine] = /^(\S+)\s+(\w+ \w+ +\d+ [\d:]+ \d+)\s+(.*)$/.exec(line) ?? []
    if (!state || state.startsWith('Z') || !startedAt) return undefined
    return { startedAt, commandLine: commandLine ?? '' }
  } catch {
    return undefined
  }
}
