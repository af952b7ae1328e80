import { sql, type RawBuilder } from 'kysely'
import type { Dimension } from '../../domain/grouping.ts'
import { coarsestGrain, isWholeQuarter, type RollupGrain } from '../../domain/rollup-grain.ts'
import type { Db } from '../pool/connection.ts'
import { costLines, instant, recordMatches, microseconds, type RecordFilter } from './cost-records.ts'

/** What is asked of the books; times in microseconds since 1970-01-01T00:00:00Z. */
export type CostQuestion = {
  /** Beside its range, which is `fromMicros` and `toMicros`. */
  filter: RecordFilter
  fromMicros: bigint
  toMicros: bigint
  /** With the span of the same length just before. */
  comparesPrevious: boolean
  dimensions: Dimension[]
  timeZone: string
  /** The dearest first; else in the order of the keys. */
  dearestFirst: boolean
  /** The place of the last group that was seen. */
  after: (string | null)[] | null
  groupsMax: number
}

/** Sums as decimal text, exact. */
export type CostSums = {
  cost_usd: string
  previous_cost_usd: string
  records: string
  input_tokens: string
  output_tokens: string
  seconds: string
}

/** A group: its key by dimension, and its place in the order of the keys. */
export type CostGroup = CostSums & { key: (string | null)[]; place: (string | null)[] }

/** The time of Postgres, in microseconds since 1970-01-01T00:00:00Z. */
export async function readClockMicros(db: Db): Promise<bigint> {
  const { rows } = await sql<{ micros: string }>`
    select (extract(epoch from copilot_internal.clock_now()) * 1000000)::bigint as micros`.execute(db)
  return BigInt(rows[0]!.micros)
}

/** The year 0; no cost is older, and Postgres's calendar ends before the longest span that can be asked for. */
const EARLIEST_MICROS = -62_167_219_200_000_000n

const SUMS = ['cost_usd', 'previous_cost_usd', 'records', 'input_tokens', 'output_tokens', 'seconds'] as const

export type CostAnswer = {
  total: CostSums
  groups: CostGroup[]
  /** Archived months of records without which the sums are not whole; empty where they are. */
  missing: string[]
}

/**
 * The sum over all lines that match, and groups of them: one statement, so that both are of one moment. The sums of all
 * groups are the total, exactly. A previous line counts where it would stand if it had occurred one span later.
 */
export async function sumCosts(db: Db, question: CostQuestion): Promise<CostAnswer> {
  const { fromMicros, toMicros, comparesPrevious, dimensions, groupsMax } = question
  const spanMicros = toMicros - fromMicros
  const previousMicros = fromMicros - spanMicros > EARLIEST_MICROS ? fromMicros - spanMicros : EARLIEST_MICROS
  const spans = [[fromMicros, toMicros] as const, ...(comparesPrevious ? [[previousMicros, fromMicros] as const] : [])]
  const bounds = spans.flat()
  const coarsest = grainOf(question, spanMicros)
  const columns = dimensions.map(columnOf)
  const raw = columns.flatMap(({ raw: parts }) => parts)
  const place = columns.map((_, index) => sql.ref(`place${index}`))
  const order = list([
    ...(question.dearestFirst || columns.length === 0 ? [sql`cost_usd desc`] : []),
    ...place.map((one) => sql`${one} is null, ${one}`),
  ])
  const sums = (of: RawBuilder<unknown>) =>
    list(SUMS.flatMap((name) => [sql.lit(name), sql`trim_scale(${of}.${sql.ref(name)})::text`]))
  const ofSpan = comparesPrevious ? sql`filter (where not previous)` : sql``

  const { rows } = await sql<{ costs: CostAnswer }>`
    with segments as (
      ${sql.join(
        spans.map(([from, to], index) => segmentsOf(from, to, coarsest, index === 1)),
        sql` union all `,
      )}
    ), lines as (
      select r.previous, r.total_cost_usd, r.records, r.input_tokens, r.output_tokens, r.seconds
             ${also(raw.map(({ name, value }) => sql`${value} as ${sql.ref(name)}`))}
      from ${coarsest === null ? recordLines(question.filter) : summedLines(question.filter, bounds.every(isWholeQuarter))} r
      cross join lateral (
        select r.occurred_at + case when r.previous then ${microseconds(spanMicros)} else interval '0' end as at) m
      cross join lateral (select m.at at time zone ${question.timeZone} as local_at) z
    ), groups as (
      select coalesce(sum(total_cost_usd) ${ofSpan}, 0) as cost_usd,
             ${comparesPrevious ? sql`coalesce(sum(total_cost_usd) filter (where previous), 0)` : sql`0::numeric`} as previous_cost_usd,
             coalesce(sum(records) ${ofSpan}, 0) as records,
             coalesce(sum(input_tokens) ${ofSpan}, 0) as input_tokens,
             coalesce(sum(output_tokens) ${ofSpan}, 0) as output_tokens,
             coalesce(sum(seconds) ${ofSpan}, 0) as seconds
             ${also(
               columns.flatMap((column, index) => [
                 sql`${column.key} as ${sql.ref(`key${index}`)}`,
                 sql`(${column.place}) collate "C" as ${sql.ref(`place${index}`)}`,
               ]),
             )}
      from lines
      group by ${raw.length === 0 ? sql`()` : list(raw.map(({ name }) => sql.ref(name)))}
      -- What was added and taken away again is no group.
      having sum(records) <> 0
    ), total as (
      select ${list(SUMS.map((name) => sql`coalesce(sum(${sql.ref(name)}), 0) as ${sql.ref(name)}`))} from groups
    ), page as (
      select * from groups
      where ${isBehind(question.after, place)}
      order by ${order}
      limit ${groupsMax}
    )
    select json_build_object(
      'total', (select json_build_object(${sums(sql.ref('total'))}) from total),
      'groups', (
        select coalesce(json_agg(json_build_object(
          'key', json_build_array(${list(columns.map((_, index) => sql.ref(`key${index}`)))}),
          'place', json_build_array(${list(place)}),
          ${sums(sql.ref('page'))}) order by ${order}), '[]')
        from page),
      'missing', (
        select coalesce(json_agg(distinct a.partition), '[]')
        from segments s cross join lateral copilot_internal.archived_between(s.starts_at, s.ends_at) a(partition)
        where s.grain = 'record')) as costs`.execute(db)
  return rows[0]!.costs
}

/** The coarsest rollups that can answer a question; null where only the records can. */
function grainOf({ filter, comparesPrevious, dimensions, timeZone, fromMicros }: CostQuestion, spanMicros: bigint) {
  const { userId, conversationId, pathId, reservationId, late, overrun, estimated, labels = {} } = filter
  const fine = [userId, conversationId, pathId, reservationId, late, overrun, estimated]
  if (fine.some((value) => value !== undefined) || Object.keys(labels).length > 0) return null
  const shiftMicros = comparesPrevious ? spanMicros : 0n
  return coarsestGrain(dimensions, timeZone, shiftMicros, fromMicros - shiftMicros)
}

/** A span, cut into the parts that rollups answer and those of grain "record", which records do; each to add or to take away. */
function segmentsOf(
  fromMicros: bigint,
  toMicros: bigint,
  coarsest: RollupGrain | null,
  isPrevious: boolean,
): RawBuilder<unknown> {
  const [from, to] = [instant(fromMicros), instant(toMicros)]
  const previous = sql`${sql.lit(isPrevious)} as previous`
  return coarsest === null
    ? sql`select 'record' as grain, ${from} as starts_at, ${to} as ends_at, 1 as sign, ${previous} where ${from} < ${to}`
    : sql`select s.*, ${previous} from copilot_internal.cost_segments(${from}, ${to}, ${coarsest}) s`
}

const atAnyTime = (filter: RecordFilter) => recordMatches({ ...filter, fromMicros: undefined, toMicros: undefined })

/**
 * What is summed up, as one relation: rollups, lines that are not rolled up yet, and records at the edges, each in the
 * segments that it answers, with their signs. One snapshot sees every line once.
 *
 * @param isWhole no edge needs records; to plan for each month of them takes longer than to sum up the rollups of a tenant.
 */
function summedLines(filter: RecordFilter, isWhole: boolean): RawBuilder<unknown> {
  return sql`(
    select s.previous, l.* from segments s cross join lateral (
      select r.starts_at as occurred_at, ${signed('records')}, ${signed('cost_usd', 'total_cost_usd')},
             ${signed('input_tokens')}, ${signed('output_tokens')}, ${signed('seconds')},
             r.resource_type::text, r.tenant_id, r.provider, r.model, r.tier,
             null::text as user_id, null::text as conversation_id, null::text as path_id, null::jsonb as labels
      from copilot_internal.cost_rollups r
      where s.grain <> 'record' and r.grain = s.grain and r.starts_at >= s.starts_at and r.starts_at < s.ends_at
        and ${atAnyTime(filter)}
      -- A fence: each segment is looked up by an index, whatever the statistics say.
      offset 0) l
    union all
    select s.previous, r.occurred_at, s.sign, s.sign * r.cost_usd, s.sign * r.input_tokens, s.sign * r.output_tokens, s.sign * r.seconds,
           r.resource_type::text, r.tenant_id, r.provider, r.model, r.tier, null, null, null, null
    from copilot_internal.cost_tail r
    join segments s on s.grain <> 'record' and r.occurred_at >= s.starts_at and r.occurred_at < s.ends_at
    where ${atAnyTime(filter)}
    ${isWhole ? sql`` : sql`union all select * from ${recordLines(filter)} l`})`
}

/** A sum with the sign of its segment; a multiplication of each would take as long as adding them up. */
const signed = (column: string, name = column) =>
  sql`case when s.sign > 0 then r.${sql.ref(column)} else -r.${sql.ref(column)} end as ${sql.ref(name)}`

/** The records of the segments that only records answer. */
function recordLines(filter: RecordFilter): RawBuilder<unknown> {
  return sql`(
    select s.previous, l.* from segments s cross join lateral (
      select r.occurred_at, s.sign as records, s.sign * r.total_cost_usd as total_cost_usd,
             (s.sign * r.input_tokens)::numeric as input_tokens, (s.sign * r.output_tokens)::numeric as output_tokens,
             s.sign * r.seconds as seconds,
             r.resource_type, r.tenant_id, r.provider, r.model, r.tier, r.user_id, r.conversation_id, r.path_id, r.labels
      from ${costLines} r
      where s.grain = 'record' and r.occurred_at >= s.starts_at and r.occurred_at < s.ends_at and ${atAnyTime(filter)}
      offset 0) l)`
}

const list = (parts: RawBuilder<unknown>[]) => sql.join(parts, sql`, `)

/** What else is selected. */
const also = (parts: RawBuilder<unknown>[]) =>
  sql.join(
    parts.map((part) => sql`, ${part}`),
    sql``,
  )

type Column = {
  /** What the lines are grouped by. */
  raw: { name: string; value: RawBuilder<unknown> }[]
  /** The key of a group, and its place among the keys, as text. */
  key: RawBuilder<unknown>
  place: RawBuilder<unknown>
}

const FIELD_COLUMNS = {
  tenant: 'tenant_id',
  user: 'user_id',
  conversation: 'conversation_id',
  path: 'path_id',
  provider: 'provider',
  model: 'model',
  tier: 'tier',
  resource_type: 'resource_type',
}

const TIME_FORMATS = { day: 'YYYY-MM-DD', week: 'YYYY-MM-DD', month: 'YYYY-MM' }

function columnOf(dimension: Dimension, index: number): Column {
  const name = `raw${index}`
  const raw = sql.ref(name)
  if (dimension.kind === 'field') {
    return { raw: [{ name, value: sql.ref(`r.${FIELD_COLUMNS[dimension.name]}`) }], key: raw, place: raw }
  }
  if (dimension.kind === 'label') {
    return { raw: [{ name, value: sql`r.labels ->> ${dimension.label}::text` }], key: raw, place: raw }
  }
  const begin = { name, value: sql`date_trunc(${sql.lit(dimension.name)}, z.local_at)` }
  if (dimension.name === 'hour') {
    // Where clocks are set back, an hour comes twice: its offset from UTC tells the two apart, and the earlier one first.
    const ahead = sql.ref('ahead')
    return {
      raw: [begin, { name: 'ahead', value: sql`z.local_at - (m.at at time zone 'UTC')` }],
      key: sql`to_char(${raw}, 'YYYY-MM-DD"T"HH24:00:00') || case when ${ahead} = interval '0' then 'Z'
        else case when ${ahead} < interval '0' then '-' else '+' end || to_char(greatest(${ahead}, -${ahead}), 'HH24:MI') end`,
      place: sql`to_char(${raw} - ${ahead}, 'YYYY-MM-DD"T"HH24:MI')`,
    }
  }
  const key = sql`to_char(${raw}, ${sql.lit(TIME_FORMATS[dimension.name])})`
  return { raw: [begin], key, place: key }
}

/** Whether a group stands behind a place, in the order of the keys; nulls come last. */
function isBehind(after: (string | null)[] | null, place: RawBuilder<unknown>[]): RawBuilder<boolean> {
  if (after === null) return sql<boolean>`true`
  const here = place.map((one) => sql`${one} is null, coalesce(${one}, '')`)
  const there = after.map((one) => sql`${one === null}::boolean, ${one ?? ''}::text`)
  return sql<boolean>`(${sql.join(here, sql`, `)}) > (${sql.join(there, sql`, `)})`
}
