import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { locateBinaries } from '../src/embedded/binaries.ts'

/** Linux counts a process's time in hundredths of a second. */
const TICKS_PER_SECOND = 100

/** Everything about the machine that a figure needs beside it: processor, memory, Node, Postgres, and the day. */
export function machineLine(): string {
  const postgres = execFileSync(join(locateBinaries(), 'bin', 'postgres'), ['--version'], { encoding: 'utf8' })
  return [
    `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown processor'}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Node ${process.versions.node}`,
    `Postgres ${/[0-9.]+/.exec(postgres)?.[0] ?? 'unknown'}`,
    new Date().toISOString().slice(0, 10),
  ].join(', ')
}

/** Seconds of processor time that a process and its children used, ended ones included; 0 without /proc. */
export function cpuSeconds(pid: number): number {
  // The name is in parentheses and may hold blanks. After it, fields 12 to 15 are the time in user mode and in the kernel,
  // and the same of children that have ended.
  const fields = read(`/proc/${pid}/stat`).split(') ')[1]?.split(' ') ?? []
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0)
  return childrenOf(pid).reduce((sum, child) => sum + cpuSeconds(child), ticks / TICKS_PER_SECOND)
}

/** Resident memory of a process in MiB; 0 without /proc. */
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
