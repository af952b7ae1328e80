import type { Form } from './usage-objects.ts'
import type { Random } from './random.ts'

/** What a caller does with its hold. */
export type CallKind =
  | 'as reserved'
  | 'another model'
  | 'own estimate'
  | 'own estimate and cost'
  | 'released'
  | 'left open'

export type Tenant = {
  name: string
  forms: readonly Form[]
  users: number
  conversations: number
  /** How many calls of each kind. Their order is random. */
  calls: Readonly<Record<CallKind, number>>
  sandboxRuns: number
  /** Sandboxes that are still running at the end. */
  sandboxesLeftOpen: number
  /** Sandboxes that the tenant requests but cannot pay for. */
  sandboxesTooDear: number
  /** Prepaid: the most it may spend in total. */
  limitUsd: { llm: string; e2b: string }
}

/**
 * Two tenants that can pay for everything, and one that runs out of money. Together at least 200 usage objects and 20
 * runs.
 */
export const TENANTS: readonly Tenant[] = [
  {
    name: 'acme',
    forms: ['openai responses', 'openai chat completions', 'anthropic messages', 'google generate content'],
    users: 6,
    conversations: 24,
    calls: {
      'as reserved': 96,
      'another model': 12,
      'own estimate': 8,
      'own estimate and cost': 4,
      released: 7,
      'left open': 4,
    },
    sandboxRuns: 8,
    sandboxesLeftOpen: 1,
    sandboxesTooDear: 0,
    limitUsd: { llm: '250', e2b: '40' },
  },
  {
    name: 'birch',
    forms: ['anthropic messages', 'google generate content', 'groq chat completions'],
    users: 4,
    conversations: 15,
    calls: {
      'as reserved': 78,
      'another model': 10,
      'own estimate': 7,
      'own estimate and cost': 3,
      released: 6,
      'left open': 3,
    },
    sandboxRuns: 7,
    sandboxesLeftOpen: 1,
    sandboxesTooDear: 0,
    limitUsd: { llm: '250', e2b: '40' },
  },
  {
    name: 'cedar',
    forms: ['openai responses', 'anthropic messages'],
    users: 2,
    conversations: 6,
    calls: {
      'as reserved': 60,
      'another model': 5,
      'own estimate': 4,
      'own estimate and cost': 2,
      released: 3,
      'left open': 2,
    },
    sandboxRuns: 5,
    sandboxesLeftOpen: 0,
    sandboxesTooDear: 3,
    limitUsd: { llm: '1.5', e2b: '5' },
  },
]

const FEATURES = ['chat', 'search', 'agent', 'summary'] as const

/** The attribution of a call: a conversation belongs to one user and has a few paths. */
export function drawAttribution(random: Random, tenant: Tenant) {
  const conversation = random.whole(1, tenant.conversations)
  return {
    user_id: `u-${(conversation % tenant.users) + 1}`,
    conversation_id: `c-${conversation}`,
    path_id: random.chance(0.8) ? `p-${conversation}-${random.whole(1, 3)}` : null,
    labels: { feature: random.pick(FEATURES), environment: random.chance(0.8) ? 'production' : 'staging' },
  }
}
