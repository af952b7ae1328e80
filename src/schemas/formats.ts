// Controls, lone surrogates and line separators; Postgres or a log line would not take them.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u
// Linear: a character, the @, and a dot somewhere in the run after it. A run before the @ would be looked through from each
// of its characters, and a text is as long as a body while its other faults are told with this one.
const EMAIL = /[^\s@]@[^\s@]+\.[^\s@]/
// One address and nothing around it: what a header of a mail may hold.
const ADDRESS = /^[^\s@<>()[\]\\,;:"]{1,64}@[^\s@<>()[\]\\,;:"]{1,189}$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
// Years and offsets that Postgres takes too.
const RFC_3339 = /^[1-9]\d{3}-\d{2}-\d{2}T([01]\d|2[0-3]):\d{2}:\d{2}(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):[0-5]\d)$/i

/** Spend of the platform that no tenant made is booked under this name: increment_e2b_quota_spend(). */
const RESERVED_TENANT = 'platform'

/** What a format that is not met is answered with. */
export const FORMAT_MESSAGES: Record<string, string> = {
  id: 'must be printable, and not look like an e-mail address: use an id',
  'tenant-id': `must be printable, not look like an e-mail address, and not be ${RESERVED_TENANT}, which is reserved for spend of no tenant: use another id`,
  label: 'must be printable, and not look like an e-mail address: no personal data goes into records',
  uuid: 'must be a UUID',
  'date-time': 'must be a time as in RFC 3339, for instance 2026-11-24T00:00:00Z',
  address: 'must be an e-mail address',
  url: 'must be a URL, for instance https://example.com/hooks',
  'time-zone': 'must be an IANA time zone of a place, for instance Europe/Dublin',
}

/** The formats that the schemas name. */
export function formatsOf(options: { allowEmailIds: boolean }): Record<string, (text: string) => boolean> {
  const printable = (text: string) => !UNPRINTABLE.test(text) && (options.allowEmailIds || !EMAIL.test(text))
  return {
    id: printable,
    'tenant-id': (text) => text !== RESERVED_TENANT && printable(text),
    label: printable,
    uuid: (text) => UUID.test(text),
    'date-time': isTime,
    address: (text) => ADDRESS.test(text) && !UNPRINTABLE.test(text),
    url: (text) => URL.canParse(text) && !UNPRINTABLE.test(text),
    'time-zone': isTimeZone,
  }
}

/** In UTC a time keeps its four digits of a year: what Postgres writes otherwise nobody reads back. */
const LAST_MS = Date.parse('9999-12-31T23:59:59Z')

function isTime(text: string): boolean {
  const millis = Date.parse(text)
  return RFC_3339.test(text) && millis <= LAST_MS && isCalendarDay(text.slice(0, 10))
}

/** JavaScript rolls the 30th of February over into March; a caller's slip must not. */
function isCalendarDay(day: string): boolean {
  return new Date(`${day}T00:00:00Z`).toISOString().startsWith(day)
}

/** To Postgres these are offsets without a summer, and some are another place's: IST is India's here, and Israel's there. */
const AMBIGUOUS_ZONE = /^(?:ACT|ART|AST|BST|CET|CST|EET|IST|MET|NST|PST|WET)$/i

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return /^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name) && !AMBIGUOUS_ZONE.test(name)
  } catch {
    return false
  }
}
