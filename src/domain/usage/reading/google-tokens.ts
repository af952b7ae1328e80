import { UsageError } from '../normal-form.ts'
import type { Node, Quantity } from './node.ts'
import type { Reading } from './reading.ts'

type GoogleCounts = {
  prompt: Quantity | undefined
  tools: Quantity | undefined
  cached: Quantity | undefined
  output: Quantity | undefined
  thoughts: Quantity | undefined
  total: Quantity | undefined
}

/**
 * Adds the token counts of Gemini. Thoughts are added to the output, and tool results to the prompt, unless the total
 * shows that they are already inside. If the total is larger than all parts, the rest is priced as output, the higher
 * rate, and noted.
 * @throws UsageError if nothing is counted: the names may be present with null.
 */
export function addGoogleTokens(reading: Reading, { pointer }: Node, counts: GoogleCounts): void {
  const { prompt, tools, cached, output, thoughts, total } = counts
  if (prompt === undefined && output === undefined && total === undefined)
    throw new UsageError(pointer, 'counts no tokens')
  const [inPrompt, inOutput] = [prompt?.count ?? 0, output?.count ?? 0]
  const part = (found: Quantity | undefined, isOnTop: boolean, whole: number) => {
    const count = found?.count ?? 0
    return { count, isOnTop, mayBeInside: count <= whole }
  }
  const { onTop, beyond } = reading.byTotal(total, inPrompt + inOutput, [
    part(thoughts, true, inOutput),
    part(tools, true, inPrompt),
    part(cached, false, inPrompt),
  ])
  reading.add('input_tokens', prompt)
  if (onTop[1]) reading.add('input_tokens', tools)
  if (onTop[2]) reading.add('input_tokens', cached)
  reading.add('cache_read_tokens', cached)
  reading.add('output_tokens', output)
  if (onTop[0]) reading.add('output_tokens', thoughts)
  reading.add('reasoning_tokens', thoughts)
  const isCounted = (reading.usage.output_tokens ?? 0) > 0
  reading.noteTotal(total, beyond)
  if (isCounted && beyond > 0) reading.add('output_tokens', { ...total!, count: beyond })
}
