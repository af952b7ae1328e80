import { PLAIN_TIERS } from '../normal-form.ts'
import { peek, type Node } from './node.ts'

/** Providers' words for the plain rates. */
const PLAIN: ReadonlySet<string> = new Set([...PLAIN_TIERS, 'on_demand', 'unspecified', 'traffic_type_unspecified'])

/** Words that may only repeat what was asked for. An outer object may know the served tier. */
const VAGUE: ReadonlySet<string> = new Set(['auto', 'default'])

/** Vertex AI names the kind of traffic where others name the tier. */
const OF_TRAFFIC: ReadonlyMap<string, string> = new Map([
  ['on_demand_priority', 'priority'],
  ['on_demand_flex', 'flex'],
])

/**
 * Our name for the served tier: `standard`, `batch`, `flex`, `priority` or `fast`. Any other word is kept in lower
 * case, so that a card without a factor for it gives a warning. Undefined if the word says nothing: `auto` only
 * repeats what was asked for.
 */
export function servedTier(word: string | undefined): string | undefined {
  const tier = word?.toLowerCase()
  if (tier === undefined || tier === 'auto') return undefined
  if (PLAIN.has(tier)) return 'standard'
  // Colons are replaced, because `region:` starts the name of a region's modifier.
  return OF_TRAFFIC.get(tier) ?? tier.replaceAll(/[^a-z0-9_.-]/g, '_').slice(0, TIER_LENGTH_MAX)
}

const TIER_LENGTH_MAX = 64

/**
 * Finds the served tier: in the usage, in the body, in the body's `response_metadata`, or where Google's
 * OpenAI-compatible endpoint puts it. If a nearer word is vague, an outer one wins.
 */
export function tierOf(node: Node, body: Node | undefined): [tier: string | undefined, pointer: string] {
  let usual: [string, string] | undefined
  for (const place of [node, body, peek(body, 'response_metadata')]) {
    if (place === undefined) continue
    const traffic = peekTraffic(place)
    if (traffic !== undefined) return traffic
    for (const name of ['service_tier', 'serviceTier']) {
      const tier = place.value[name]
      if (typeof tier !== 'string' || tier === '') continue
      const found: [string, string] = [tier, `${place.pointer}/${name}`]
      if (!VAGUE.has(tier.toLowerCase())) return found
      usual ??= found
    }
  }
  return usual ?? [undefined, '']
}

function peekTraffic(node: Node): [string, string] | undefined {
  const google = (node.value['extra_properties'] as { google?: { traffic_type?: unknown } } | undefined)?.google
  const traffic = google?.traffic_type
  return typeof traffic === 'string' ? [traffic, `${node.pointer}/extra_properties/google/traffic_type`] : undefined
}
