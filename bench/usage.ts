import { readdirSync, readFileSync } from 'node:fs'

/** Linux counts a process's time in hundredths of a second. */
const TICKS_PER_SECOND = 100

/** Seconds of processor time that a process and its children, also those that are gone, used; 0 where there is no /proc. */
export function cpuSeconds(pid: number): number {
  const [user, system, goneUser, goneSystem] = ticksOf(pid)
  return childrenOf(pid).reduce(
    (sum, child) => sum + cpuSeconds(child),
    (user + system + goneUser + goneSystem) / TICKS_PER_SECOND,
  )
}

/** Resident memory of a process in MiB; 0 where there is no /proc. */
export function residentMib(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024
}

/** Memory in MiB of a process and its children, each shared page divided among those who share it. */
export function proportionalMib(pid: number): number {
  return [pid, ...childrenOf(pid)].reduce(
    (sum, one) => sum + Number(/^Pss:\s+(\d+) kB/m.exec(read(`/proc/${one}/smaps_rollup`))?.[1] ?? 0) / 1024,
    0,
  )
}

/** Time in user mode and in the kernel, and the same of children that were waited for. */
function ticksOf(pid: number): [number, number, number, number] {
  // The name stands in parentheses and may hold blanks; these are the 14th to 17th field.
  const fields = read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? []
  const [user = 0, system = 0, goneUser = 0, goneSystem = 0] = fields.slice(11, 15).map(Number)
  return [user, system, goneUser, goneSystem]
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .flatMap((task) => read(`/proc/${pid}/task/${task}/children`).split(' '))
      .filter((text) => text !== '')
      .map(Number)
  } catch {
    return []
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
