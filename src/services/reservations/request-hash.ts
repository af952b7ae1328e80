import stringify from 'safe-stable-stringify'
import { hash } from 'node:crypto'
import { USAGE_QUANTITIES, type Usage } from '../../domain/usage/index.ts'
import type { Measure } from '../costs/measure.ts'

/** Of the rule by which a request is understood. Version 1 knew its words only. */
const VERSION = '02'

/**
 * By which a repeat is told from another request with the same key, as bytea in hexadecimal: the version (1 byte), then the
 * first half of the SHA-256 of what was understood, then SHA-256 of the words in any order. same_request() takes two for one request where either agrees.
 *
 * @param understood holds the defaults, and one spelling of each value; but no id of ours, no time of now, and nothing that
 * follows from prices or from a tokenizer, which change. What is undefined is left out, so a new field changes no old hash.
 * @param words the request as it came.
 */
export function requestHash(understood: object, words: object): string {
  return `\\x${VERSION}${sha256(JSON.stringify(understood)).slice(0, 32)}${sha256(stringify(words))}`
}

const sha256 = (text: string) => hash('sha256', text, 'hex')

/** What and whose a request is. */
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

/** By which tier and in which region a model is asked. */
export function understoodPlace({
  service_tier = null,
  region = null,
}: {
  service_tier?: string | null
  region?: string | null
}) {
  return { service_tier, region }
}

/** A measure in one form: a quantity of 0 says as much as none, but for the requests, which are one where nothing is said. */
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

/** Fields in one order, without those that say nothing: null, and an object that is empty; undefined where none is left. */
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
