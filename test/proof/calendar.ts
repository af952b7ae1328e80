/** The periods of quotas, computed from the local time of a zone, in another way than in Postgres. Times in ms. */

export type Calendar = { period: string; timeZone: string; weekStartsOn: number; billingDay: number }

const DAY_MS = 86_400_000
const FORMATS = new Map<string, Intl.DateTimeFormat>()

/** The date that a clock in the zone shows, as the number of days since 1970-01-01. */
function dateAt(at: number, timeZone: string): number {
  let format = FORMATS.get(timeZone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
    FORMATS.set(timeZone, format)
  }
  return Date.parse(`${format.format(at)}T00:00:00Z`) / DAY_MS
}

/** The first moment at which the zone's clock shows the date or a later one; to the minute, as zones are. */
function beginningOf(date: number, timeZone: string): number {
  const minute = 60_000
  let [before, after] = [(date * DAY_MS) / minute - 1_600, (date * DAY_MS) / minute + 1_600]
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2)
    if (dateAt(middle * minute, timeZone) >= date) after = middle
    else before = middle
  }
  return after * minute
}

const weekdayOf = (date: number) => ((date + 3) % 7) + 1

/** The billing day of a month as a date; months count from year 0. */
function billingDate(month: number, billingDay: number): number {
  const dateOf = (year: number, monthOfYear: number, day: number) => Date.UTC(year, monthOfYear, day) / DAY_MS
  const last = dateOf(Math.floor(month / 12), (month % 12) + 1, 0)
  return Math.min(dateOf(Math.floor(month / 12), month % 12, billingDay), last)
}

/** The half-open period that contains a moment. */
export function periodAt({ period, timeZone, weekStartsOn, billingDay }: Calendar, at: number) {
  const between = (from: number, to: number) => ({
    startsAt: beginningOf(from, timeZone),
    endsAt: beginningOf(to, timeZone),
  })
  if (period === 'total') return { startsAt: 0, endsAt: Date.parse('9999-12-31T00:00:00Z') }
  if (period === 'hour') {
    const startsAt = at - (at % 3_600_000)
    return { startsAt, endsAt: startsAt + 3_600_000 }
  }
  const date = dateAt(at, timeZone)
  if (period === 'day') return between(date, date + 1)
  if (period === 'week') {
    const first = date - ((weekdayOf(date) - weekStartsOn + 7) % 7)
    return between(first, first + 7)
  }
  const shown = new Date(date * DAY_MS)
  const month = shown.getUTCFullYear() * 12 + shown.getUTCMonth()
  const running = date < billingDate(month, billingDay) ? month - 1 : month
  return between(billingDate(running, billingDay), billingDate(running + 1, billingDay))
}
