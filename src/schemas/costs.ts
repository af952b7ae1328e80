import { Type, type Static } from 'typebox'
import { about, Cursor, Id, Labels, Limit, Nullable, ResourceType, Time, TimeInput, Usd, Uuid } from './common.ts'

/** Which records: every field of attribution, and what the cost is of. */
const filter = {
  resource_type: Type.Optional(ResourceType),
  tenant_id: Type.Optional(Id),
  user_id: Type.Optional(Id),
  conversation_id: Type.Optional(Id),
  path_id: Type.Optional(Id),
  provider: Type.Optional(Id),
  model: Type.Optional(Id),
  tier: Type.Optional(about(Id, 'The size of a sandbox.')),
  reservation_id: Type.Optional(Uuid),
  from: Type.Optional(about(TimeInput, 'Records whose occurred_at is this time or later.')),
  to: Type.Optional(about(TimeInput, 'Records whose occurred_at is before this time.')),
  late: Type.Optional(Type.Boolean()),
  overrun: Type.Optional(Type.Boolean()),
  estimated: Type.Optional(Type.Boolean()),
}

/** Nothing unknown but label.<name>=<value>. */
export const withLabels = {
  additionalProperties: false,
  patternProperties: { '^label\\.[a-z][a-z0-9_]{0,62}$': Type.String({ maxLength: 200, format: 'label' }) },
} as const

export const CostRecordsQuery = Type.Object(
  { ...filter, limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) },
  withLabels,
)
export type CostFilter = Omit<Static<typeof CostRecordsQuery>, 'limit' | 'cursor'>

export const CostExportQuery = Type.Object(
  {
    ...filter,
    format: Type.Union([Type.Literal('csv'), Type.Literal('jsonl'), Type.Literal('focus')], {
      description:
        '`csv`: one column for each field. `jsonl`: one cost record a line. `focus`: CSV with the columns of FOCUS.',
    }),
    cursor: Type.Optional(
      Type.Unsafe<string>({
        ...Uuid,
        description: 'The cost_record_id of the last whole row that arrived. The rows after it follow.',
      }),
    ),
  },
  withLabels,
)

export const CostRecord = Type.Object(
  {
    cost_record_id: Uuid,
    reservation_id: Nullable(about(Uuid, 'Null: the spend had no reservation.')),
    resource_type: ResourceType,
    tenant_id: Type.String(),
    user_id: Nullable(Type.String()),
    conversation_id: Nullable(Type.String()),
    path_id: Nullable(Type.String()),
    labels: Labels,
    provider: Nullable(Type.String()),
    model: Nullable(Type.String()),
    tier: Nullable(Type.String({ description: 'The size of the sandbox. Null for a call of a model.' })),
    usage: Type.Unsafe<object>({
      type: 'object',
      additionalProperties: true,
      description: 'The quantities in the form of TokenUsage. Negative if the record reverses another one.',
    }),
    cost_usd: about(Usd, 'Negative if the record reverses another one.'),
    price_id: Nullable(Type.Integer({ description: 'The version of the price. Null: no price was needed.' })),
    occurred_at: about(Time, 'When the money was spent. It decides the price and the period.'),
    recorded_at: Time,
    late: Type.Boolean({
      description: 'Committed after the hold had expired or been released, or after its period had ended.',
    }),
    overrun: Type.Boolean({ description: 'It cost more than was held.' }),
    estimated: Type.Boolean({ description: 'The cost is an estimate, because the usage is not known exactly.' }),
    estimate_reason: Type.Optional(
      Type.String({
        description:
          'Only of an estimate, if known: `lapse`, `unpriced`, `usage_unknown`, `usage_unreadable`, `window` or `direct`.',
      }),
    ),
    unreadable_usage: Type.Optional(
      Type.Unsafe<object>({
        type: 'object',
        additionalProperties: true,
        description:
          'Only of `usage_unreadable`: the reasons, each with its pointer and message, and the numbers and words of provider_usage (null if it was too large).',
      }),
    ),
    corrects: Nullable(about(Uuid, 'The record that this one reverses or replaces.')),
  },
  { title: 'CostRecord', description: 'One cost. A record never changes: a correction adds new ones.' },
)

export const CostsQuery = Type.Object(
  {
    ...filter,
    group_by: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1000,
        description:
          'What to group by, separated by commas: tenant, user, conversation, path, provider, model, tier, resource_type, label.<name>, and at most one of hour, day, week, month.',
      }),
    ),
    time_zone: Type.Optional(
      Type.String({
        format: 'time-zone',
        default: 'UTC',
        description: 'IANA name of the time zone in which hours, days, weeks and months start.',
      }),
    ),
    compare: Type.Optional(
      Type.Literal('previous', {
        description: 'Adds previous_cost_usd, the cost of the span just before, of the same length.',
      }),
    ),
    top: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        description: 'Only this many groups, the most expensive first, on one page.',
      }),
    ),
    limit: Type.Optional(Limit),
    // Holds a group's key, whose parts may have 200 characters each.
    cursor: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 16_000,
        description: '`next_cursor` of the page before. Send the same filter with it.',
      }),
    ),
  },
  withLabels,
)
export type CostsQuery = Omit<Static<typeof CostsQuery>, 'cursor'>

const sums = {
  cost_usd: Usd,
  previous_cost_usd: Type.Optional(about(Usd, 'Only with compare=previous.')),
  records: Type.Integer({ description: 'How many cost records.' }),
  input_tokens: Type.Integer(),
  output_tokens: Type.Integer(),
  seconds: Type.Number({ description: 'How long sandboxes ran.' }),
}

export const Costs = Type.Object(
  {
    from: Time,
    to: about(Time, 'Exclusive.'),
    time_zone: Type.String(),
    total: Type.Object(sums, { title: 'CostSums' }),
    groups: Type.Array(
      Type.Object(
        {
          key: Type.Unsafe<Record<string, string | null>>({
            type: 'object',
            additionalProperties: { type: ['string', 'null'] },
            description: 'The value of each name in group_by. Null: the records have none.',
          }),
          ...sums,
        },
        { title: 'CostGroup' },
      ),
    ),
    next_cursor: Nullable(
      Type.String({ description: 'Send it as `cursor` to get the next page. Null on the last page.' }),
    ),
  },
  { title: 'Costs' },
)
