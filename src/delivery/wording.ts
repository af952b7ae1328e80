import { valueText, type Message } from './message.ts'

/** A message for people: what happened, what to do, and the facts, each by its name. */
export type Wording = { subject: string; advice: string; facts: [string, string][] }

const SUBJECT_CHARACTERS_MAX = 200

type Phrase = (data: (name: string) => string) => string

/** What each type says, and what to do. docs/events.md says more. */
const WORDS: Record<string, { subject: Phrase; advice: string }> = {
  'quota.warning': {
    subject: (of) =>
      `${of('scope')} ${of('scope_id')} has spent ${of('spent_usd')} of ${of('limit_usd')} USD (${of('resource_type')}, ${of('period')})`,
    advice:
      'Nothing is refused yet. Raise the limit or look at what is spending: GET /v1/costs, grouped by model or user.',
  },
  'quota.exceeded': {
    subject: (of) =>
      `${of('scope')} ${of('scope_id')} is out of quota: ${of('spent_usd')} spent, ${of('reserved_usd')} held of ${of('limit_usd')} USD (${of('resource_type')}, ${of('period')})`,
    advice:
      'Where the quota is enforced, what does not fit is refused until the period ends. A raise of the quota ends that at once.',
  },
  'quota.overrun': {
    subject: (of) => `a commit of tenant ${of('tenant_id')} cost ${of('overrun_usd')} USD more than was held`,
    advice: 'It is booked. Where it happens often, callers estimate too low.',
  },
  'reservation.late': {
    subject: (of) => `a commit of tenant ${of('tenant_id')} came late: ${of('cost_usd')} USD`,
    advice: 'It is booked. Where it happens often, holds need a longer ttl_seconds, or extend.',
  },
  'reservation.lapsed': {
    subject: (of) => `a hold of tenant ${of('tenant_id')} lapsed: ${of('reserved_usd')} USD`,
    advice: 'Its caller neither committed nor released it. Where it was charged, a real commit corrects that.',
  },
  'price.missing': {
    subject: (of) =>
      of('more_than') === '?'
        ? `no price for ${of('provider')} ${of('model')}`
        : `${of('principal')} named more than ${of('more_than')} models without a price today`,
    advice:
      'Reservations of them are refused. One call prices a model: POST /v1/pricing/models. Where names are invented, revoke the key.',
  },
  'price.stale': {
    subject: () => 'prices could not be renewed',
    advice: 'Costs go on by the prices that are known. See npm run prices -- diff.',
  },
  'usage.unreadable': {
    subject: (of) =>
      of('more_than') === '?'
        ? `usage of ${of('provider')} ${of('model')} cannot be read${of('pointer') && ` at ${of('pointer')}`}: ${of('reason')}`
        : `${of('principal')} sent usage that cannot be read in more than ${of('more_than')} places today`,
    advice:
      'What was held is booked, as an estimate, and the object is kept. Once a release reads it, npm run prices -- rerate books the real cost.',
  },
  'usage.unread': {
    subject: (of) =>
      of('more_than') === '?'
        ? `usage of ${of('provider')} has a field that nothing reads: ${of('field')}`
        : `${of('principal')} sent more than ${of('more_than')} fields of usage that nothing reads today`,
    advice:
      'The rest of the usage is booked. Where the provider charges for that field, correct the records, and look for a release that reads it.',
  },
  'cost.anomaly': {
    subject: (of) =>
      `tenant ${of('tenant_id')} spent ${of('cost_usd')} USD in the hour of ${of('hour_starts_at')}, ${of('typical_usd')} is usual`,
    advice:
      'The dearest models and users of that hour are named. Where it was not meant, revoke the key or lower the quota.',
  },
  'delivery.failed': {
    subject: (of) => `deliveries to endpoint ${of('endpoint_id')} fail: ${of('last_error')}`,
    advice:
      'Mend the receiver, then POST /v1/deliveries/{id}/redeliver; an endpoint that answered 410 has to be enabled again.',
  },
  'integrity.broken': {
    subject: (of) => `the books are broken in ${of('broken_rows')} places`,
    advice: 'Run npm run integrity, which says what to do about each.',
  },
  'endpoint.test': { subject: () => 'a test: this endpoint is reached', advice: 'Nothing has to be done.' },
}

export function wordingOf({ type, timestamp, data }: Message): Wording {
  const { subject, advice } = WORDS[type] ?? { subject: () => type, advice: '' }
  const whole = `Purser: ${subject((name) => valueText(data[name] ?? '?'))}`
  const facts = Object.entries({ type, timestamp, ...data }).flatMap(([name, value]): [string, string][] =>
    value === null ? [] : [[name, valueText(value)]],
  )
  return { subject: whole.slice(0, SUBJECT_CHARACTERS_MAX), advice, facts }
}
