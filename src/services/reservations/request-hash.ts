import stringify from 'safe-stable-stringify'
import { hash } from 'node:crypto'
import { USAGE_QUANTITIES, type Usage } from '../../domain/usage/index.ts'
import type { Measure } from '../costs/measure.ts'

/** The version of the rule that normalises requests. Version 1 hashed only the request as it was sent. */
const VERSION = '02'

/**
 * Hashes a request, to distinguish a retry from another request with the same key.
 *
 * The result is bytea in hexadecimal: the version (1 byte), the first half of the SHA-256 of the normalised request, and the
 * SHA-256 of the request as it was sent, independent of the order of its fields. same_request() treats two requests as one
 * if either hash agrees.
 *
 * @param understood the normalised request: defaults filled in, and one spelling for each value. It must not contain ids made
 * by the service, the current time, or anything derived from prices or a tokenizer, because these change between retries.
 * Undefined fields are left out, so a new optional field does not change old hashes.
 * @param words the request as it was sent.
 */
export function requestHash(understood: object, words: object): string {
  return `\\x${VERSION}${sha256(JSON.stringify(understood)).slice(0, 32)}${sha256(stringify(words))}`
}

const sha256 = (text: string) => hash('sha256', text, 'hex')

/** The resource type and attribution of a request, in a normal form. */
export function understoodAttribution(item: {
  resource_type: 'llm' | 'e2b'
  tenant_id: string
  user_id: string | null
  conversation_id: string | null
  path_id: string | null
  labels: Record<string, string>
}): object {
  const { resource_type, tenant_id, user_id, conversation_id, path_id } = item
  return { resource_type, tenant_id, user_id, conversation_id, path_id, labels: understoodFields(item.labels) }
}

/** The service tier and region of a model call, in a normal form. */
export function understoodPlace({
  service_tier = null,
  region = null,
}: {
  service_tier?: string | null
  region?: string | null
}) {
  return { service_tier, region }
}

/** A measure in a normal form. A quantity of 0 means the same as a missing one, except for requests, whose default is 1. */
export function understoodMeasure({ measure, usage, seconds, cost_usd }: Measure): object {
  if (usage === undefined) return { measure, seconds, cost_usd }
  const { service_tier, region, search_context, requests = 1, steps } = usage
  const quantities = quantitiesOf(usage)
  return { measure, quantities, requests, service_tier, region, search_context, steps: steps?.map(quantitiesOf) }
}

function quantitiesOf(usage: Usage): string {
  let quantities = ''
  for (const name of USAGE_QUANTITIES) {
    if (name !== 'requests' && usage[name]) quantities += `${name} ${usage[name]} `
  }
  return quantities
}

/** Leaves out fields that are null or empty objects, and sorts the rest. Undefined if no field is left. */
export function understoodFields(fields: object | null | undefined): Record<string, unknown> | undefined {
  const said: Record<string, unknown> = {}
  let isEmpty = true
  for (const name of Object.keys(fields ?? {}).toSorted()) {
    const value = (fields as Record<string, unknown>)[name]
    const understood = typeof value === 'object' ? understoodFields(value) : value
    if (understood === undefined) continue
    said[name] = understood
    isEmpty = false
  }
  return isEmpty ? undefined : said
}
