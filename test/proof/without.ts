import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guard } from './guard-list.ts'

const root = join(import.meta.dirname, '..', '..')

/** The files without a guard, by their names. @throws where the text that is taken away is not in each exactly once. */
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
