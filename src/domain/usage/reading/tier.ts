import { peek, type Node } from './node.ts'

/** Words that say: nothing but the plain rates. */
const PLAIN: ReadonlySet<string> = new Set([
  'standard',
  'default',
  'on_demand',
  'unspecified',
  'traffic_type_unspecified',
])

/** Words that may repeat what was asked for, so that a place further out may know better. */
const VAGUE: ReadonlySet<string> = new Set(['auto', 'default'])

/** Vertex AI says by the kind of traffic what others say by the tier. */
const OF_TRAFFIC: ReadonlyMap<string, string> = new Map([
  ['on_demand_priority', 'priority'],
  ['on_demand_flex', 'flex'],
])

/**
 * Our word for the tier that served: `standard`, `batch`, `flex`, `priority` or `fast`; for any other the provider's own in small
 * letters, so that a price card that has no factor for it says so. Undefined where it says nothing: `auto` is what was asked for.
 */
export function servedTier(word: string | undefined): string | undefined {
  const tier = word?.toLowerCase()
  if (tier === undefined || tier === 'auto') return undefined
  if (PLAIN.has(tier)) return 'standard'
  // A colon would make it a region's name.
  return OF_TRAFFIC.get(tier) ?? tier.replaceAll(/[^a-z0-9_.-]/g, '_').slice(0, TIER_LENGTH_MAX)
}

const TIER_LENGTH_MAX = 64

/**
 * The tier that served: in the usage, on the body or in its `response_metadata`, or where Google's OpenAI-compatible endpoint says it.
 * A place further out counts where a nearer one is vague.
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
