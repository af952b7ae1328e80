import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guard } from './guard-list.ts'

const root = join(import.meta.dirname, '..', '..')

/** The texts of a guard's files with the guard removed, by path. @throws Error unless each file has its text exactly once. */
export function without({ name, file, alsoIn = [], remove, put }: Guard): Map<string, string> {
  return new Map(
    [file, ...alsoIn].map((path) => {
      const text = readFileSync(join(root, path), 'utf8')
      const places = text.split(remove).length - 1
      if (places !== 1) throw new Error(`${name}: ${path} has its text ${places} times, not once`)
      return [path, text.replace(remove, () => put)]
    }),
  )
}
