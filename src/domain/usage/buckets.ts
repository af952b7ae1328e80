import { checkParts, type Usage } from './normal-form.ts'

/** The token buckets of a rate card. They do not overlap, so every token is priced once. */
export const BUCKETS = [
  'input',
  'cache_read',
  'cache_read_audio',
  'cache_read_image',
  'cache_write',
  'cache_write_1h',
  'cache_write_12h',
  'audio_input',
  'image_input',
  'video_input',
  'output',
  'reasoning',
  'audio_output',
  'image_output',
  'video_output',
] as const

export type Bucket = (typeof BUCKETS)[number]

/** The buckets of generated tokens. All others belong to the prompt. */
export const OUTPUT_BUCKETS: ReadonlySet<Bucket> = new Set([
  'output',
  'reasoning',
  'audio_output',
  'image_output',
  'video_output',
])

/**
 * Splits a usage into tokens by bucket; empty buckets are left out. @throws UsageError if a part is larger than its
 * whole.
 */
export function bucketsOf(usage: Usage): [bucket: Bucket, tokens: number][] {
  checkParts(usage)
  const of = (name: keyof Usage) => (usage[name] as number | undefined) ?? 0
  const reads = of('cache_read_tokens')
  const writes = of('cache_write_tokens')
  const mediaIn = of('audio_input_tokens') + of('image_input_tokens') + of('video_input_tokens')
  const mediaOut = of('audio_output_tokens') + of('image_output_tokens') + of('video_output_tokens')
  const all: [Bucket, number][] = [
    ['input', of('input_tokens') - reads - writes - mediaIn],
    ['cache_read', reads - of('cache_read_audio_tokens') - of('cache_read_image_tokens')],
    ['cache_read_audio', of('cache_read_audio_tokens')],
    ['cache_read_image', of('cache_read_image_tokens')],
    ['cache_write', writes - of('cache_write_1h_tokens') - of('cache_write_12h_tokens')],
    ['cache_write_1h', of('cache_write_1h_tokens')],
    ['cache_write_12h', of('cache_write_12h_tokens')],
    ['audio_input', of('audio_input_tokens')],
    ['image_input', of('image_input_tokens')],
    ['video_input', of('video_input_tokens')],
    ['output', of('output_tokens') - of('reasoning_tokens') - mediaOut],
    ['reasoning', of('reasoning_tokens')],
    ['audio_output', of('audio_output_tokens')],
    ['image_output', of('image_output_tokens')],
    ['video_output', of('video_output_tokens')],
  ]
  return all.filter(([, tokens]) => tokens > 0)
}
