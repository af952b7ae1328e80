import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guard } from './guard-list.ts'

const root = join(import.meta.dirname, '..', '..')

/** The name of the guard's file, with its text without the guard. @throws if the text to remove is not in it exactly once. */
export function without({ name, file, remove, put }: Guard): Map<string, string> {
  const text = readFileSync(join(root, file), 'utf8')
  const places = text.split(remove).length - 1
  if (places !== 1) throw new Error(`${name}: ${file} has its text ${places} times, not once`)
  return new Map([[file, text.replace(remove, () => put)]])
}
