import { sql, type RawBuilder } from 'kysely'
import type { Dimension } from '../../domain/grouping.ts'
import { coarsestGrain, isWholeQuarter, type RollupGrain } from '../../domain/rollup-grain.ts'
import type { Db } from '../pool/connection.ts'
import { costLines, instant, recordMatches, microseconds, type RecordFilter } from './cost-records.ts'

/** A query over costs; times in microseconds since 1970-01-01T00:00:00Z. */
export type CostQuestion = {
  /** The filter without its time range, which is in `fromMicros` and `toMicros`. */
  filter: RecordFilter
  fromMicros: bigint
  toMicros: bigint
  /** Also sum the range of the same length just before. */
  comparesPrevious: boolean
  dimensions: Dimension[]
  timeZone: string
  /** True: the most expensive groups first. False: in the order of the keys. */
  dearestFirst: boolean
  /** The place of the last group of the previous page; null for the first page. */
  after: (string | null)[] | null
  groupsMax: number
}

/** Exact sums as decimal text. */
export type CostSums = {
  cost_usd: string
  previous_cost_usd: string
  records: string
  input_tokens: string
  output_tokens: string
  seconds: string
}

/** A group: its key, one value for each dimension, and the texts by which groups are sorted. */
export type CostGroup = CostSums & { key: (string | null)[]; place: (string | null)[] }

/** Reads the clock of Postgres, in microseconds since 1970-01-01T00:00:00Z. */
export async function readClockMicros(db: Db): Promise<bigint> {
  const { rows } = await sql<{ micros: string }>`
    select (extract(epoch from copilot_internal.clock_now()) * 1000000)::bigint as micros`.execute(db)
  return BigInt(rows[0]!.micros)
}

/** The year 0. No cost is older, and Postgres cannot represent the start of the longest possible range. */
const EARLIEST_MICROS = -62_167_219_200_000_000n

const SUMS = ['cost_usd', 'previous_cost_usd', 'records', 'input_tokens', 'output_tokens', 'seconds'] as const

export type CostAnswer = {
  total: CostSums
  groups: CostGroup[]
  /** Archived months that the sums would need; empty if the sums are complete. */
  missing: string[]
}

/**
 * Sums all matching records, in total and by group.
 *
 * One statement does both, so the sums of all groups add up exactly to the total. With `comparesPrevious`, a record of the
 * previous range counts in the group that it would be in if it had occurred one range later.
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
      -- Leave out groups whose records were all subtracted again.
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

/** Finds the coarsest rollups that can answer a query; null if it needs the records themselves. */
function grainOf({ filter, comparesPrevious, dimensions, timeZone, fromMicros }: CostQuestion, spanMicros: bigint) {
  const { userId, conversationId, pathId, reservationId, late, overrun, estimated, labels = {} } = filter
  const fine = [userId, conversationId, pathId, reservationId, late, overrun, estimated]
  if (fine.some((value) => value !== undefined) || Object.keys(labels).length > 0) return null
  const shiftMicros = comparesPrevious ? spanMicros : 0n
  return coarsestGrain(dimensions, timeZone, shiftMicros, fromMicros - shiftMicros)
}

/**
 * Cuts a time range into segments that rollups answer, and segments of grain "record" that records answer. The sign of a
 * segment says whether to add or subtract it.
 */
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
 * Everything to sum, as one relation: rollups, records that are not rolled up yet, and records at the edges of the range,
 * each with the sign of its segment. One snapshot sees every record exactly once.
 *
 * @param isWhole no edge needs records, so leave them out: planning all their partitions takes longer than summing the
 * rollups of a tenant.
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
      -- An optimisation fence: makes Postgres use an index for each segment, whatever the statistics say.
      offset 0) l
    union all
    select s.previous, r.occurred_at, s.sign, s.sign * r.cost_usd, s.sign * r.input_tokens, s.sign * r.output_tokens, s.sign * r.seconds,
           r.resource_type::text, r.tenant_id, r.provider, r.model, r.tier, null, null, null, null
    from copilot_internal.cost_tail r
    join segments s on s.grain <> 'record' and r.occurred_at >= s.starts_at and r.occurred_at < s.ends_at
    where ${atAnyTime(filter)}
    ${isWhole ? sql`` : sql`union all select * from ${recordLines(filter)} l`})`
}

/** A sum with the sign of its segment. Negates instead of multiplying: multiplying takes as long as the summing itself. */
const signed = (column: string, name = column) =>
  sql`case when s.sign > 0 then r.${sql.ref(column)} else -r.${sql.ref(column)} end as ${sql.ref(name)}`

/** The records of the segments that rollups cannot answer. */
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

/** More columns for a select list, each preceded by a comma. */
const also = (parts: RawBuilder<unknown>[]) =>
  sql.join(
    parts.map((part) => sql`, ${part}`),
    sql``,
  )

type Column = {
  /** The expressions in `group by`. */
  raw: { name: string; value: RawBuilder<unknown> }[]
  /** The key of a group, and the text by which groups are sorted. */
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
    // When clocks are set back, an hour occurs twice. The offset from UTC distinguishes the two; the earlier one is first.
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

/** The SQL condition that a group comes after a place in the order of the keys; nulls come last. */
function isBehind(after: (string | null)[] | null, place: RawBuilder<unknown>[]): RawBuilder<boolean> {
  if (after === null) return sql<boolean>`true`
  const here = place.map((one) => sql`${one} is null, coalesce(${one}, '')`)
  const there = after.map((one) => sql`${one === null}::boolean, ${one ?? ''}::text`)
  return sql<boolean>`(${sql.join(here, sql`, `)}) > (${sql.join(there, sql`, `)})`
}
