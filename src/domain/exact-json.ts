/** A number whose text may say more than a double holds: sixteen digits or more in a row. */
const LONG_NUMBER = /[0-9.]{16}/

/** JSON in: a number that a double can't hold is kept as its decimal text, so that an amount is taken by what was written. */
export function parseJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text)
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined && source.length >= 16 && !isExact(value, source)
      ? source
      : value,
  )
}

/** JSON to be passed on: its numbers as they are written, all their digits, where JSON.stringify() writes them again. */
export function exactJson(text: string): unknown {
  return JSON.parse(text, (_key, value, { source }) =>
    typeof value === 'number' && source !== undefined ? JSON.rawJSON(source) : value,
  )
}

function isExact(value: number, source: string): boolean {
  const digits = (text: string) =>
    text
      .replace(/^-/, '')
      .replace(/^0+(?=[0-9])/, '')
      .replace(/(\.[0-9]*?)0+$/, '$1')
      .replace(/\.$/, '')
  return digits(String(value)) === digits(source)
}
