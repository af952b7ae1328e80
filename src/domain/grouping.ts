/** The fields that costs can be grouped by. Labels and one time bucket are possible as well. */
const FIELDS = ['tenant', 'user', 'conversation', 'path', 'provider', 'model', 'tier', 'resource_type'] as const
const TIME_BUCKETS = ['hour', 'day', 'week', 'month'] as const

const LABEL = /^label\.([a-z][a-z0-9_]{0,62})$/

/** The most dimensions in one grouping: every field, a time bucket, and labels. */
const DIMENSIONS_MAX = 12

const ALLOWED = `${FIELDS.join(', ')}, label.<name>, and at most one of ${TIME_BUCKETS.join(', ')}`

/** One dimension of a grouping. `name` is what the caller wrote. */
export type Dimension =
  | { kind: 'field'; name: (typeof FIELDS)[number] }
  | { kind: 'label'; name: string; label: string }
  | { kind: 'time'; name: (typeof TIME_BUCKETS)[number] }

/** A grouping that cannot be parsed. The message says what is allowed. */
export class GroupingError extends Error {
  override readonly name = 'GroupingError'
}

/**
 * Parses a comma-separated list of names into dimensions, in the same order.
 *
 * @throws GroupingError for an unknown or repeated name, a second time bucket, or too many names.
 */
export function parseGrouping(text: string): Dimension[] {
  const names = text.split(',').map((name) => name.trim())
  if (names.length > DIMENSIONS_MAX) throw new GroupingError(`has more than ${DIMENSIONS_MAX} names`)
  const dimensions = names.map(dimensionOf)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new GroupingError(`has ${twice} twice`)
  const buckets = dimensions.filter(({ kind }) => kind === 'time').map(({ name }) => name)
  if (buckets.length > 1) throw new GroupingError(`has ${buckets.join(' and ')}: at most one time bucket is allowed`)
  return dimensions
}

function dimensionOf(name: string): Dimension {
  const field = FIELDS.find((known) => known === name)
  if (field !== undefined) return { kind: 'field', name: field }
  const bucket = TIME_BUCKETS.find((known) => known === name)
  if (bucket !== undefined) return { kind: 'time', name: bucket }
  const [, label] = LABEL.exec(name) ?? []
  if (label !== undefined) return { kind: 'label', name, label }
  throw new GroupingError(`has ${JSON.stringify(name)}; allowed are ${ALLOWED}`)
}
