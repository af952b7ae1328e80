/** What stands in a composite value without quotes; everything else is quoted, an empty text too. */
const PLAIN = /^[\w.:@/+-]+$/
const QUOTED = /["\\]/g

/**
 * Rows as the text of an array of a composite type, their fields in the type's order; null and undefined are NULL, objects
 * JSON. Measured: Postgres reads these twice as fast as json_populate_recordset() reads JSON.
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

/** Values as the text of an array; null is NULL. Measured: pg's own text of an array takes three times as long. */
export function arrayText(values: readonly (string | number | boolean | null)[]): string {
  let text = '{'
  for (let v = 0; v < values.length; v += 1) {
    if (v > 0) text += ','
    const value = values[v] ?? null
    // In quotes, as a text may be "null" or empty.
    text += typeof value === 'string' ? `"${value.replace(QUOTED, '\\$&')}"` : value === null ? 'NULL' : String(value)
  }
  return `${text}}`
}

/** A quote or backslash is doubled for the row, and each of the two, as the row's own quotes, escaped for the array. */
function quoted(field: string): string {
  return `\\"${field.replace(QUOTED, '\\$&\\$&')}\\"`
}
