import { isObject } from '../../is-object.ts'
import { pointerStep } from '../../json-pointer.ts'
import { checkQuantity, UsageError } from '../normal-form.ts'

/**
 * An object inside what a provider sent, and the JSON pointer to it.
 *
 * Readers ask for names in snake case. `isCamel` says that the object itself uses camel case.
 */
export type Node = {
  value: Record<string, unknown>
  pointer: string
  isCamel: boolean
  /** For each object, the names that are read or ignored with everything below them. One map for the whole tree. */
  accounted: Map<object, Set<string>>
}

/** A quantity, and the pointer to it. */
export type Quantity = { count: number; pointer: string }

/** The most unread numbers of one object that are named. */
const UNREAD_MAX = 20

/** The longest step of a pointer. Names are the caller's text, so longer ones are cut to keep answers small. */
const STEP_LENGTH_MAX = 64

export function rootNode(value: Record<string, unknown>): Node {
  return { value, pointer: '', isCamel: false, accounted: new Map() }
}

/** The same object, with its names read in camel case. */
export function inCamelCase(node: Node): Node {
  return { ...node, isCamel: true }
}

export function has(node: Node, ...names: string[]): boolean {
  return names.some((name) => node.value[nameIn(node, name)] !== undefined)
}

/** The object under a name; undefined for null or a missing name. @throws UsageError for any other value. */
export function child(node: Node | undefined, name: string): Node | undefined {
  if (node === undefined) return undefined
  const value = node.value[nameIn(node, name)]
  if (value === undefined || value === null) return undefined
  if (!isObject(value)) throw new UsageError(pointerTo(node, name), 'must be an object')
  return { ...node, value, pointer: pointerTo(node, name) }
}

/** The object under a name; undefined for any other value. */
export function peek(node: Node | undefined, name: string): Node | undefined {
  const value = node?.value[nameIn(node, name)]
  return isObject(value) ? { ...node!, value, pointer: pointerTo(node!, name) } : undefined
}

/** The objects in the list under a name; empty for null or a missing name. @throws UsageError for any other value. */
export function children(node: Node | undefined, name: string): Node[] {
  const list = node?.value[nameIn(node, name)]
  if (node === undefined || list === undefined || list === null) return []
  const pointer = pointerTo(node, name)
  if (!Array.isArray(list)) throw new UsageError(pointer, 'must be an array')
  return list.map((value: unknown, index) => {
    if (!isObject(value)) throw new UsageError(`${pointer}/${index}`, 'must be an object')
    return { ...node, value, pointer: `${pointer}/${index}` }
  })
}

/** The quantity under a name; undefined for null or a missing name. @throws UsageError for any other value. */
export function quantity(node: Node | undefined, name: string): Quantity | undefined {
  const value = node?.value[nameIn(node, name)]
  if (node === undefined || value === undefined || value === null) return undefined
  const pointer = pointerTo(node, name)
  ignore(node, name)
  return { count: checkQuantity(pointer, value), pointer }
}

/** The quantity under a name. @throws UsageError also if it is missing. */
export function requiredQuantity(node: Node, name: string): Quantity {
  const found = quantity(node, name)
  if (found === undefined) throw new UsageError(pointerTo(node, name), 'is missing')
  return found
}

/** Whether the value under a name is `true`. */
export function flag(node: Node, name: string): boolean {
  return node.value[nameIn(node, name)] === true
}

/** The string under a name; undefined if there is none, or another value. */
export function word(node: Node | undefined, name: string): string | undefined {
  const value = node?.value[nameIn(node, name)]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A number that is not a token count, such as an amount of money or a duration; undefined if there is none. */
export function figure(node: Node | undefined, name: string): Quantity | undefined {
  const value = node?.value[nameIn(node, name)]
  if (node === undefined || typeof value !== 'number') return undefined
  ignore(node, name)
  return { count: value, pointer: pointerTo(node, name) }
}

/**
 * Marks names, and everything below them, as accounted for: they are read, are not quantities, or repeat what was
 * read.
 */
export function ignore(node: Node | undefined, ...names: string[]): void {
  if (node === undefined) return
  let known = node.accounted.get(node.value)
  if (known === undefined) node.accounted.set(node.value, (known = new Set()))
  for (const name of names) known.add(nameIn(node, name))
}

/**
 * Pointers to the numbers of an object that no reader accounted for, in order. A string that is a number counts as
 * one.
 */
export function unreadOf({ value, pointer, accounted }: Node): string[] {
  const unread: string[] = []
  const walk = (inner: object, at: string) => {
    const known = accounted.get(inner)
    for (const name of Object.keys(inner)) {
      if (unread.length >= UNREAD_MAX) return
      if (known?.has(name) === true) continue
      const part = (inner as Record<string, unknown>)[name]
      if (typeof part === 'number' || (typeof part === 'string' && NUMBER.test(part))) {
        unread.push(`${at}/${boundedStep(name)}`)
      } else if (typeof part === 'object' && part !== null) walk(part, `${at}/${boundedStep(name)}`)
    }
  }
  walk(value, pointer)
  return unread
}

/** The object under a name that the caller chose; undefined for any other value. */
export function entry(node: Node, name: string): Node | undefined {
  const value = Object.hasOwn(node.value, name) ? node.value[name] : undefined
  return isObject(value) ? { ...node, value, pointer: `${node.pointer}/${boundedStep(name)}` } : undefined
}

function boundedStep(name: string): string {
  return pointerStep(name.length > STEP_LENGTH_MAX ? `${name.slice(0, STEP_LENGTH_MAX)}…` : name)
}

const NUMBER = /^-?\d+(\.\d+)?$/

/** The pointer to the value under a name. */
export function pointerTo(node: Node, name: string): string {
  return `${node.pointer}/${nameIn(node, name)}`
}

function nameIn(node: Node, name: string): string {
  return node.isCamel ? camelCase(name) : name
}

// All names come from our own readers, so the map stays small.
const camelNames = new Map<string, string>()

function camelCase(name: string): string {
  let camel = camelNames.get(name)
  if (camel === undefined) {
    camel = name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
    camelNames.set(name, camel)
  }
  return camel
}
