/** A text of more bytes is not tokenized: its bytes are counted as tokens. */
export const TOKENIZED_BYTES_MAX = 50_000

/** The longest piece that the tokenizer gets: its time grows with the square of an unbroken run of characters. */
const RUN_CHARACTERS_MAX = 256

const UNBROKEN_RUN = /\S{256}|\s{256}/
const PIECES = new RegExp(`[^]{1,${RUN_CHARACTERS_MAX}}`, 'gu')
const NOT_ASCII = /[^\0-\x7f]/

/**
 * An upper estimate of the input tokens of a text; a whole number, rounded up.
 *
 * Counts with OpenAI's o200k vocabulary and applies a margin for other vocabularies: 1.02 for OpenAI, 1.5 for Google
 * and Groq, and for all others 1.5 (ASCII) or 2.1 (other text). No text has more tokens than bytes, so the bytes are
 * the upper limit, and the answer above 50,000 bytes. The first call loads the vocabulary (about 75 MB of memory).
 *
 * Bounded in time: random letters, the slowest text, take about 50 ms; prose takes a tenth of that.
 */
export async function countTokens(provider: string, text: string): Promise<number> {
  const bytes = Buffer.byteLength(text)
  if (bytes > TOKENIZED_BYTES_MAX) return bytes
  const o200k = await import('gpt-tokenizer/encoding/o200k_base')
  let tokens = 0
  for (const piece of piecesOf(text)) {
    // Control tokens are counted as ordinary text: a prompt may quote one.
    tokens += o200k.countTokens(piece, { disallowedSpecial: new Set() })
  }
  // Computed in hundredths, so that no binary fraction affects the rounding.
  return Math.min(bytes, Math.ceil((tokens * marginPercent(provider, text)) / 100))
}

/**
 * The whole text, or short pieces if it has an unbroken run. Each cut may add a token, but the tokenizer cannot hang.
 */
function piecesOf(text: string): string[] {
  return UNBROKEN_RUN.test(text) ? (text.match(PIECES) ?? []) : [text]
}

function marginPercent(provider: string, text: string): number {
  if (provider === 'openai') return 102
  if (provider === 'google' || provider === 'groq') return 150
  return NOT_ASCII.test(text) ? 210 : 150
}
