import { billedTier, isFreeCard, isPlainTier, isUnsplit, type Asked, type ModelPrice } from './price.ts'
import type { Usage, UsageQuantity } from './usage/normal-form.ts'
import { isImageModel } from './usage/source.ts'

/** A part of a usage for which the rate card has no figure, so another rate priced it. */
export type PriceGap = {
  code: 'tier_unpriced' | 'usage_unread' | 'usage_unsplit'
  /** The field of the usage. Null if the caller asked for the tier and the usage does not name it. */
  field: UsageQuantity | 'service_tier' | 'region' | null
  detail: string
}

/**
 * Lists what the rate card has no figure for, so that a warning can say how it was priced instead:
 * - the tier or region that served, and web searches without a fee;
 * - long-lived cache writes that get the rate of shorter ones;
 * - audio and images that get the rate of text, or may be counted among text;
 * - a long context that was decided by the mean of several requests.
 *
 * @param options `isAggregate`: the usage may sum up several requests without saying how many. `hasModalities`: the
 * usage says how much of the prompt is audio, even if that is none.
 */
export function gapsOf(
  price: ModelPrice,
  usage: Usage,
  asked: Asked,
  options: { isAggregate: boolean; hasModalities?: boolean },
): PriceGap[] {
  if (isFreeCard(price)) return []
  const gaps: PriceGap[] = []
  const tier = tierGap(price, usage.service_tier, asked.serviceTier)
  if (tier !== null) gaps.push(tier)
  const { region } = usage
  if (region !== undefined && !Object.hasOwn(price.modifiers, `region:${region}`)) {
    gaps.push({
      code: 'tier_unpriced',
      field: 'region',
      detail: `${price.model} has no price for region ${region}; priced without one`,
    })
  }
  if ((usage.web_searches ?? 0) > 0 && price.usdPerUnit.web_search === undefined) {
    const detail = `counts ${usage.web_searches} web searches, for which the card of ${price.model} has no fee`
    gaps.push({ code: 'usage_unread', field: 'web_searches', detail })
  }
  const { longContext: long } = price
  for (const [field, rate, ttl] of LONG_WRITES) {
    const mayBeLong = long !== null && (usage.input_tokens ?? 0) > long.inputTokensOver
    if ((usage[field] ?? 0) > 0 && mayBeLong && long.usdPerMtok.cache_write && !long.usdPerMtok[rate]) {
      const detail = `counts ${ttl} cache writes, for which the card of ${price.model} has no long-context rate`
      gaps.push({ code: 'usage_unread', field, detail })
      continue
    }
    if ((usage[field] ?? 0) === 0 || price.usdPerMtok[rate] !== undefined || price.usdPerMtok.cache_write === undefined)
      continue
    const detail = `counts ${ttl} cache writes, for which the card of ${price.model} has no rate; priced as shorter ones`
    gaps.push({ code: 'usage_unread', field, detail })
  }
  for (const [field, rate] of OTHER_MEDIA) {
    if ((usage[field] ?? 0) === 0 || price.usdPerMtok[rate] !== undefined || isPlainMedium(price, field)) continue
    const detail = `counts ${usage[field]} tokens, for which the card of ${price.model} has no rate; priced as text`
    gaps.push({ code: 'usage_unread', field, detail })
  }
  for (const [field, rate, uncached] of CACHED_MEDIA) {
    const { [rate]: own, [uncached]: plain, cache_read: text } = price.usdPerMtok
    if ((usage[field] ?? 0) === 0 || own !== undefined || plain === undefined || text === undefined) continue
    const detail = `counts ${usage[field]} tokens, for which the card of ${price.model} has no rate; priced as cached text`
    gaps.push({ code: 'usage_unread', field, detail })
  }
  const isAudioSaid =
    options.hasModalities === true || usage.audio_input_tokens !== undefined || (usage.input_tokens ?? 0) === 0
  if (mayHear(price) && !isAudioSaid && price.usdPerMtok.audio_input !== undefined) {
    const detail = `does not say what of it is audio, which ${price.model} charges otherwise; priced as text`
    gaps.push({ code: 'usage_unread', field: 'input_tokens', detail })
  }
  if (isUnsplit(price, usage, options.isAggregate)) {
    const { requests = 1 } = usage
    const how = requests > 1 ? `by the mean of ${requests} requests` : 'as if it were one request'
    const detail = `sums up requests without their split; the long context of ${price.model} was decided ${how}`
    gaps.push({ code: 'usage_unsplit', field: 'input_tokens', detail })
  }
  return gaps
}

const LONG_WRITES = [
  ['cache_write_1h_tokens', 'cache_write_1h', 'one-hour'],
  ['cache_write_12h_tokens', 'cache_write_12h', 'twelve-hour'],
] as const

/** Media that most providers charge more for than for text. Image input is left out: most price it as text. */
const OTHER_MEDIA = [
  ['audio_input_tokens', 'audio_input'],
  ['audio_output_tokens', 'audio_output'],
  ['image_output_tokens', 'image_output'],
  ['video_output_tokens', 'video_output'],
] as const

const CACHED_MEDIA = [
  ['cache_read_audio_tokens', 'cache_read_audio', 'audio_input'],
  ['cache_read_image_tokens', 'cache_read_image', 'image_input'],
] as const

/** Whether the model is made for audio input, so that most of its input is audio. */
export function mayHear({ model }: Pick<ModelPrice, 'model'>): boolean {
  return /audio|realtime|transcribe|-live-|sonic/.test(model)
}

/**
 * Whether a medium has no rate of its own by design. Some Google models have one rate for all input, audio included;
 * the output rate of an image model is the rate of images.
 */
function isPlainMedium({ provider, model }: ModelPrice, field: string): boolean {
  if (field === 'audio_input_tokens') return provider === 'google'
  return field === 'image_output_tokens' && isImageModel({ model })
}

/**
 * The gap when a card has no factor for the billed tier; null if there is none.
 *
 * @param served the tier that the usage names. It wins over the tier that was asked for.
 */
export function tierGap(
  price: ModelPrice,
  served: string | undefined,
  asked: string | null | undefined,
): PriceGap | null {
  const tier = billedTier(served, asked)
  if (tier === null || isPlainTier(tier) || Object.hasOwn(price.modifiers, tier) || isFreeCard(price)) return null
  return {
    code: 'tier_unpriced',
    field: tier === served ? 'service_tier' : null,
    detail: `${price.model} has no price for service tier ${tier}; priced as standard`,
  }
}
