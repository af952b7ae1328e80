import { Type, type Static } from 'typebox'
import { Cursor, Id, Labels, Limit, Nullable, ResourceType, Time, TimeInput, Usd, Uuid } from './common.ts'

/** Which records: every field of attribution, and what the cost is of. */
const filter = {
  resource_type: Type.Optional(ResourceType),
  tenant_id: Type.Optional(Id),
  user_id: Type.Optional(Id),
  conversation_id: Type.Optional(Id),
  path_id: Type.Optional(Id),
  provider: Type.Optional(Id),
  model: Type.Optional(Id),
  tier: Type.Optional(Id),
  reservation_id: Type.Optional(Uuid),
  from: Type.Optional(TimeInput),
  to: Type.Optional(TimeInput),
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
    format: Type.Union([Type.Literal('csv'), Type.Literal('jsonl'), Type.Literal('focus')]),
    cursor: Type.Optional(
      Type.Unsafe<string>({
        ...Uuid,
        description: 'The cost_record_id of the last row that arrived: the rest follows',
      }),
    ),
  },
  withLabels,
)

export const CostRecord = Type.Object({
  cost_record_id: Uuid,
  reservation_id: Nullable(Uuid),
  resource_type: ResourceType,
  tenant_id: Type.String(),
  user_id: Nullable(Type.String()),
  conversation_id: Nullable(Type.String()),
  path_id: Nullable(Type.String()),
  labels: Labels,
  provider: Nullable(Type.String()),
  model: Nullable(Type.String()),
  tier: Nullable(Type.String({ description: 'The size of a sandbox; null for a model call' })),
  usage: Type.Unsafe<object>({
    type: 'object',
    additionalProperties: true,
    description: 'Quantities in normal form; negative in the reversal of a corrected line',
  }),
  cost_usd: Usd,
  price_id: Nullable(Type.Integer()),
  occurred_at: Time,
  recorded_at: Time,
  late: Type.Boolean(),
  overrun: Type.Boolean(),
  estimated: Type.Boolean(),
  estimate_reason: Type.Optional(
    Type.String({
      description:
        'Of an estimate, as far as it is known: lapse, unpriced, usage_unknown, usage_unreadable, window or direct',
    }),
  ),
  unreadable_usage: Type.Optional(
    Type.Unsafe<object>({
      type: 'object',
      additionalProperties: true,
      description:
        'Of usage_unreadable: the reasons, each with its pointer and message, and the numbers and words of provider_usage (null where it was too large)',
    }),
  ),
  corrects: Nullable(Uuid),
})

export const CostsQuery = Type.Object(
  {
    ...filter,
    group_by: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 1000,
        description:
          'Names with commas: tenant, user, conversation, path, provider, model, tier, resource_type, label.<name>, and at most one of hour, day, week, month',
      }),
    ),
    time_zone: Type.Optional(
      Type.String({
        format: 'time-zone',
        default: 'UTC',
        description: 'IANA name: where hours, days, weeks and months begin',
      }),
    ),
    compare: Type.Optional(Type.Literal('previous')),
    top: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1000, description: 'The dearest groups only, dearest first' }),
    ),
    limit: Type.Optional(Limit),
    // Holds a group's key, whose parts may have 200 characters each.
    cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 16_000 })),
  },
  withLabels,
)
export type CostsQuery = Omit<Static<typeof CostsQuery>, 'cursor'>

const sums = {
  cost_usd: Usd,
  previous_cost_usd: Type.Optional(Usd),
  records: Type.Integer(),
  input_tokens: Type.Integer(),
  output_tokens: Type.Integer(),
  seconds: Type.Number(),
}

export const Costs = Type.Object({
  from: Time,
  to: Time,
  time_zone: Type.String(),
  total: Type.Object(sums),
  groups: Type.Array(
    Type.Object({
      key: Type.Unsafe<Record<string, string | null>>({
        type: 'object',
        additionalProperties: { type: ['string', 'null'] },
        description: 'By the names of group_by; null where the records have none',
      }),
      ...sums,
    }),
  ),
  next_cursor: Nullable(Type.String()),
})
