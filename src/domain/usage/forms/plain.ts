import type { UsageSource } from '../source.ts'
import { USAGE_QUANTITIES } from '../normal-form.ts'
import { readExtras } from '../reading/extras.ts'
import { anyone, type Form } from './form.ts'
import { has, quantity, requiredQuantity, word, type Node } from '../reading/node.ts'
import { Reading } from '../reading/reading.ts'
import { tierOf } from '../reading/tier.ts'

/**
 * Our own normal form, and any object with only `input_tokens` and `output_tokens`, which mean the same in every
 * form.
 *
 * `input_tokens` is the whole prompt. `output_tokens` is everything generated, including reasoning unless a total
 * shows that it comes on top.
 */
export const plain: Form = {
  name: 'our own normal form',
  hasShape: (node) => has(node, 'input_tokens') && Object.keys(node.value).every((name) => !FOREIGN.test(name)),
  isSentBy: anyone,
  read: readPlain,
}

/** Names that identify other forms. An unknown new field is no reason to refuse the object. */
const FOREIGN =
  /_details$|^cache_(creation|read_input|write_input)|^cached_|^(prompt|completion)|^(iterations|speed|inference_geo|server_tool_use|reasoning_output_tokens)$/

const OWN = USAGE_QUANTITIES.filter((name) => name !== 'input_tokens' && name !== 'output_tokens')

function readPlain(node: Node, source: UsageSource, body: Node | undefined): Reading {
  const reading = new Reading()
  const input = requiredQuantity(node, 'input_tokens')
  const output = quantity(node, 'output_tokens')
  reading.add('input_tokens', input)
  reading.add('output_tokens', output)
  for (const name of OWN) if (name !== 'requests') reading.add(name, quantity(node, name))
  const reasoning = reading.usage.reasoning_tokens ?? 0
  const total = quantity(node, 'total_tokens')
  const { onTop, beyond } = reading.byTotal(total, input.count + (output?.count ?? 0), [
    { count: reasoning, isOnTop: false, mayBeInside: reasoning <= (output?.count ?? 0) },
  ])
  if (onTop[0]) reading.add('output_tokens', { count: reasoning, pointer: reading.pointers.reasoning_tokens ?? '' })
  reading.addUnexplained(total, beyond, source)
  if (!OWN.some((name) => has(node, name))) reading.addImageOutput(source, undefined, undefined)
  reading.searched(word(node, 'search_context'))
  readExtras(reading, node, source)
  reading.servedBy(...tierOf(node, body))
  reading.servedIn(word(node, 'region'), `${node.pointer}/region`)
  return reading.finish()
}
