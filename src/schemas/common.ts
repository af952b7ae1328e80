import { Type, type Static, type TSchema } from 'typebox'
import type { SpelledInstant } from '../domain/instant.ts'

/** An id that callers choose: 1 to 200 printable characters, and no e-mail address unless that is allowed. */
export const Id = Type.String({ minLength: 1, maxLength: 200, format: 'id' })

/**
 * A tenant that a request acts for. One name is reserved (RESERVED_TENANT); a filter takes any Id, so that what is booked under it
 * can be read.
 */
export const TenantId = Type.String({ minLength: 1, maxLength: 200, format: 'tenant-id' })

export const Uuid = Type.String({ format: 'uuid' })
export const Time = Type.String({ format: 'date-time', description: 'RFC 3339' })

/** An instant of a request: readInstant() reads it. Answers have `Time`. */
export const TimeInput = Type.Unsafe<SpelledInstant>({
  type: 'string',
  format: 'date-time',
  description: 'RFC 3339; finer than microseconds is cut',
})

/** A USD amount of a request: a JSON number by its decimal text, or a decimal string; at least 0 and below 1e9. */
export const UsdInput = Type.Unsafe<number | string>({
  anyOf: [
    { type: 'number', minimum: 0, exclusiveMaximum: 1e9 },
    { type: 'string', pattern: '^[0-9]{1,9}(\\.[0-9]{1,60})?$' },
  ],
  description:
    'USD, exact decimal: a number or a decimal string, at least 0 and below 1e9; rounded half up to 12 decimals',
})

/** A USD amount of an answer: a JSON number in plain digits, all of them. */
export const Usd = Type.Number({ description: 'USD, exact decimal in plain digits' })

export const Nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()])

export const ResourceType = Type.Union([Type.Literal('llm'), Type.Literal('e2b')])
export const Scope = Type.Union([Type.Literal('platform'), Type.Literal('tenant'), Type.Literal('user')])
export const Period = Type.Union([
  Type.Literal('hour'),
  Type.Literal('day'),
  Type.Literal('week'),
  Type.Literal('month'),
  Type.Literal('total'),
])
export const EnforcementLevel = Type.Union([Type.Literal('enforce'), Type.Literal('warn'), Type.Literal('off')])
export type ResourceType = Static<typeof ResourceType>

export const Labels = Type.Unsafe<Record<string, string>>({
  type: 'object',
  maxProperties: 16,
  propertyNames: { pattern: '^[a-z][a-z0-9_]{0,62}$' },
  additionalProperties: { type: 'string', maxLength: 200, format: 'label' },
  description: 'At most 16 labels; names [a-z][a-z0-9_]{0,62}, values up to 200 characters',
})

/** Whom a cost is attributed to, in requests. */
export const Attribution = {
  tenant_id: Type.Optional(TenantId),
  user_id: Type.Optional(Nullable(Id)),
  conversation_id: Type.Optional(Nullable(Id)),
  path_id: Type.Optional(Nullable(Id)),
  labels: Type.Optional(Labels),
}

export const Limit = Type.Integer({ minimum: 1, maximum: 1000, default: 100 })
export const Cursor = Type.String({ minLength: 1, maxLength: 500 })

export const Page = <Schema extends TSchema>(item: Schema) =>
  Type.Object({ data: Type.Array(item), next_cursor: Nullable(Type.String()) })

export const Closed = { additionalProperties: false } as const

/** RFC 9457, with the members that every problem of this service has. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    instance: Type.String(),
    code: Type.String(),
    request_id: Type.String(),
    errors: Type.Optional(Type.Array(Type.Object({ pointer: Type.String(), message: Type.String() }))),
    provider: Type.Optional(Nullable(Type.String({ description: 'Of price_not_found' }))),
    model: Type.Optional(Type.String({ description: 'Of price_not_found' })),
    near: Type.Optional(
      Type.Array(
        Type.Object({
          provider: Type.String(),
          model: Type.String({ description: 'Also an alias, or the tier of a sandbox' }),
          region: Type.Optional(Type.String({ description: 'Of a sandbox' })),
        }),
        {
          description:
            'Of price_not_found: the nearest that have a price for the moment that was asked for, the nearest first',
        },
      ),
    ),
  },
  { $id: 'Problem', additionalProperties: true },
)
