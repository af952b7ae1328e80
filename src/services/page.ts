/** A page of a list. `next` is the position after which the next page begins; null on the last page. */
export type PageOf<After> = { data: object[]; next: After | null }

/** Makes a page of at most `limit` rows. Pass `limit + 1` rows if there are as many: the extra row shows that more follow. */
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
