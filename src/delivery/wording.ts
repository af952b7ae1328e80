import { valueText, type Message } from './message.ts'

/** A message as text for people: what happened, what to do, and the facts by name. */
export type Wording = { subject: string; advice: string; facts: [string, string][] }

const SUBJECT_CHARACTERS_MAX = 200

type Phrase = (data: (name: string) => string) => string

/** The subject and advice for each event type. docs/events.md has more. */
const WORDS: Record<string, { subject: Phrase; advice: string }> = {
  'quota.warning': {
    subject: (of) =>
      `${of('scope')} ${of('scope_id')} has spent ${of('spent_usd')} of ${of('limit_usd')} USD (${of('resource_type')}, ${of('period')})`,
    advice:
      'Nothing is refused yet. Raise the limit, or find out what is spending: GET /v1/costs, grouped by model or user.',
  },
  'quota.exceeded': {
    subject: (of) =>
      `${of('scope')} ${of('scope_id')} is out of quota: ${of('spent_usd')} spent, ${of('reserved_usd')} held of ${of('limit_usd')} USD (${of('resource_type')}, ${of('period')})`,
    advice:
      'If the quota is enforced, requests that do not fit are refused until the period ends. Raising the quota helps at once.',
  },
  'quota.overrun': {
    subject: (of) => `a commit of tenant ${of('tenant_id')} cost ${of('overrun_usd')} USD more than was held`,
    advice: 'The cost is booked. If this happens often, callers estimate too low.',
  },
  'reservation.late': {
    subject: (of) => `a commit of tenant ${of('tenant_id')} came late: ${of('cost_usd')} USD`,
    advice: 'The cost is booked. If this happens often, reserve with a longer ttl_seconds, or extend holds.',
  },
  'reservation.lapsed': {
    subject: (of) => `a hold of tenant ${of('tenant_id')} lapsed: ${of('reserved_usd')} USD`,
    advice: 'Its caller neither committed nor released it. If it was charged, a later commit corrects the cost.',
  },
  'price.missing': {
    subject: (of) =>
      of('more_than') === '?'
        ? `no price for ${of('provider')} ${of('model')}`
        : `${of('principal')} named more than ${of('more_than')} models without a price today`,
    advice:
      'Reservations for such models are refused. To price a model: POST /v1/pricing/models. If the names are invented, revoke the key.',
  },
  'price.stale': {
    subject: () => 'prices could not be updated',
    advice: 'Costs continue to use the known prices. See npm run prices -- diff.',
  },
  'usage.unreadable': {
    subject: (of) =>
      of('more_than') === '?'
        ? `usage of ${of('provider')} ${of('model')} cannot be read${of('pointer') && ` at ${of('pointer')}`}: ${of('reason')}`
        : `${of('principal')} sent usage that cannot be read in more than ${of('more_than')} places today`,
    advice:
      'The held amount is booked as an estimate, and the object is kept. Once a release can read it, npm run prices -- rerate books the real cost.',
  },
  'usage.unread': {
    subject: (of) =>
      of('more_than') === '?'
        ? `usage of ${of('provider')} has a field that nothing reads: ${of('field')}`
        : `${of('principal')} sent more than ${of('more_than')} fields of usage that nothing reads today`,
    advice:
      'The rest of the usage is booked. If the provider charges for that field, correct the records, and look for a release that reads it.',
  },
  'cost.anomaly': {
    subject: (of) =>
      `tenant ${of('tenant_id')} spent ${of('cost_usd')} USD in the hour of ${of('hour_starts_at')}; ${of('typical_usd')} is typical`,
    advice:
      'The facts name the most expensive models and users of that hour. If this was not intended, revoke the key or lower the quota.',
  },
  'delivery.failed': {
    subject: (of) => `deliveries to endpoint ${of('endpoint_id')} fail: ${of('last_error')}`,
    advice:
      'Repair the receiver, then POST /v1/deliveries/{id}/redeliver. An endpoint that answered 410 must be enabled again.',
  },
  'integrity.broken': {
    subject: (of) => `the books are broken in ${of('broken_rows')} places`,
    advice: 'Run npm run integrity: it says what to do about each place.',
  },
  'endpoint.test': { subject: () => 'a test: this endpoint can be reached', advice: 'There is nothing to do.' },
}

export function wordingOf({ type, timestamp, data }: Message): Wording {
  const { subject, advice } = WORDS[type] ?? { subject: () => type, advice: '' }
  const whole = `Purser: ${subject((name) => valueText(data[name] ?? '?'))}`
  const facts = Object.entries({ type, timestamp, ...data }).flatMap(([name, value]): [string, string][] =>
    value === null ? [] : [[name, valueText(value)]],
  )
  return { subject: whole.slice(0, SUBJECT_CHARACTERS_MAX), advice, facts }
}
