/** A page of a list, and what the next one begins after; null at the end. */
export type PageOf<After> = { data: object[]; next: After | null }

/** The page of rows that were read one further than `limit`. */
export function pageOf<Row, After>(
  rows: Row[],
  limit: number,
  answerOf: (row: Row) => object,
  afterOf: (row: Row) => After,
): PageOf<After> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { data: shown.map(answerOf), next: rows.length > limit && last !== undefined ? afterOf(last) : null }
}
