import { drawAttribution, type CallKind, type Tenant } from './tenants.ts'
import { FORMS, makeUsageObject, type UsageObject } from './usage-objects.ts'
import type { Random } from './random.ts'
import { NO_MODEL, OPEN_TTL_SECONDS, subjectOf, type Step } from './step.ts'

type Model = { provider: string; model: string }

const MAX_OUTPUT_TOKENS = [256, 1_024, 4_096, 8_192, 16_384, 32_768]

/** A tenant's model calls, in the order they are made. */
export function planModelCalls(random: Random, tenant: Tenant): Step[] {
  const kinds = Object.entries(tenant.calls).flatMap(([kind, count]) =>
    Array.from({ length: count }, () => kind as CallKind),
  )
  return random.shuffle(kinds).map((kind) => planCall(random, tenant, kind))
}

function planCall(random: Random, tenant: Tenant, kind: CallKind): Step {
  const usage = makeUsageObject(random, random.pick(tenant.forms))
  const asked = kind === 'another model' ? drawAnother(random, tenant, usage) : usage
  const who = { resource_type: 'llm', ...drawAttribution(random, tenant) }
  const step = { resourceType: 'llm', kind, asked: subjectOf(asked), booked: subjectOf(usage) } as const
  const reserve = { ...who, llm: askFor(random, asked, usage) }
  const ownEstimate = { ...who, estimated_cost_usd: drawCentsUsd(random) }
  const commit = { provider_usage: usage.providerUsage, call: drawCall(random) }
  switch (kind) {
    case 'as reserved':
      return { ...step, reserve, next: { commit }, form: usage.form }
    case 'another model': {
      const named = asked.provider === usage.provider ? {} : { provider: usage.provider }
      return { ...step, reserve, next: { commit: { ...commit, ...named, model: usage.model } }, form: usage.form }
    }
    case 'own estimate': {
      const named = { provider: usage.provider, model: usage.model }
      return {
        ...step,
        asked: NO_MODEL,
        reserve: ownEstimate,
        next: { commit: { ...commit, ...named } },
        form: usage.form,
      }
    }
    case 'own estimate and cost': {
      const cost = { commit: { actual_cost_usd: drawFineUsd(random) } }
      return { ...step, asked: NO_MODEL, booked: NO_MODEL, reserve: ownEstimate, next: cost }
    }
    case 'released': {
      const reason = random.pick(['the user left', 'answered from a cache', 'the provider was down'])
      return { ...step, reserve, next: { release: { reason } } }
    }
    case 'left open':
      return { ...step, reserve: { ...reserve, ttl_seconds: OPEN_TTL_SECONDS }, next: 'leave open' }
  }
}

/** The model that was requested but did not answer: a sibling of the one that did, or another provider's. */
function drawAnother(random: Random, tenant: Tenant, answered: UsageObject): Model {
  const models = tenant.forms.flatMap((form) => FORMS[form].models.map((model) => ({ ...FORMS[form], model })))
  const siblings = models.filter(({ provider, model }) => provider === answered.provider && model !== answered.model)
  const others = models.filter(({ provider }) => provider !== answered.provider)
  return random.pick(random.chance(0.3) ? others : siblings)
}

/** What a caller knows before the call: the approximate length of the prompt, and the limit of the answer. */
function askFor(random: Random, { provider, model }: Model, usage: UsageObject): object {
  return {
    provider,
    model,
    input_tokens: Math.ceil(usage.promptTokens * (1 + random.next() * 0.05)),
    max_output_tokens: MAX_OUTPUT_TOKENS.find((tokens) => tokens >= usage.outputTokens),
    ...(usage.webSearches > 0 ? { max_web_searches: 5 } : {}),
    ...(usage.serviceTier === undefined ? {} : { service_tier: usage.serviceTier }),
    ...(usage.region === undefined ? {} : { region: usage.region }),
  }
}

function drawCall(random: Random): object {
  return { outcome: 'success', streaming: random.chance(0.6), retries: random.chance(0.1) ? 1 : 0 }
}

function drawCentsUsd(random: Random): string {
  return `0.${String(random.whole(1, 30)).padStart(2, '0')}`
}

/** An amount with all 12 decimals. */
function drawFineUsd(random: Random): string {
  return `0.0${String(random.whole(1_000_000_000, 99_999_999_999)).padStart(11, '0')}`
}
