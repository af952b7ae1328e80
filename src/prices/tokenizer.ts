/** Above this many bytes a text is not tokenized: the bytes stand for its tokens. */
export const TOKENIZED_BYTES_MAX = 50_000

/** Longest stretch that the tokenizer gets in one piece: its time grows with the square of an unbroken run. */
const RUN_CHARACTERS_MAX = 256

const UNBROKEN_RUN = /\S{256}|\s{256}/
const PIECES = new RegExp(`[^]{1,${RUN_CHARACTERS_MAX}}`, 'gu')
const NOT_ASCII = /[^\0-\x7f]/

/**
 * How many input tokens a text is at most likely to be, for an estimate; a whole number, rounded up.
 *
 * OpenAI's o200k vocabulary, times a margin for the provider's own: 1.02 for OpenAI, 1.5 for Google and Groq, 1.5 (ASCII)
 * or 2.1 (other text) for Anthropic and for everyone else. No text has more tokens than bytes, so these are the ceiling,
 * and the answer above 50,000 bytes. The first call loads the vocabulary (about 75 MB of memory).
 *
 * Bounded in time: a text of letters at random, the slowest that there is, takes about 50 ms; prose a tenth of that.
 */
export async function countTokens(provider: string, text: string): Promise<number> {
  const bytes = Buffer.byteLength(text)
  if (bytes > TOKENIZED_BYTES_MAX) return bytes
  const o200k = await import('gpt-tokenizer/encoding/o200k_base')
  let tokens = 0
  for (const piece of piecesOf(text)) {
    // Text that looks like a control token is text: a prompt may quote one.
    tokens += o200k.countTokens(piece, { disallowedSpecial: new Set() })
  }
  // In hundredths, so that no binary fraction moves the rounding.
  return Math.min(bytes, Math.ceil((tokens * marginPercent(provider, text)) / 100))
}

/** The text whole, or where it holds an unbroken run in short pieces: a token more at each cut, and no hang. */
function piecesOf(text: string): string[] {
  return UNBROKEN_RUN.test(text) ? (text.match(PIECES) ?? []) : [text]
}

function marginPercent(provider: string, text: string): number {
  if (provider === 'openai') return 102
  if (provider === 'google' || provider === 'groq') return 150
  return NOT_ASCII.test(text) ? 210 : 150
}
