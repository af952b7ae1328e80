import { Type, type Static, type TSchema } from 'typebox'
import type { SpelledInstant } from '../domain/instant.ts'

// A schema with a title is a component of that name in openapi.yaml. The title changes nothing about validation.

/**
 * The same schema with a description for one field. openapi.yaml shows it beside the reference to the component; the
 * component keeps the schema's own description, which travels in `$comment`.
 */
export const about = <Schema extends TSchema>(schema: Schema, description: string) =>
  Type.Unsafe<Static<Schema>>({
    ...schema,
    description,
    ...('title' in schema && { $comment: 'description' in schema ? schema.description : '' }),
  })

/** An id that callers choose: 1 to 200 printable characters, and no e-mail address unless that is allowed. */
export const Id = Type.String({ minLength: 1, maxLength: 200, format: 'id' })

/**
 * A tenant that a request acts for. RESERVED_TENANT is refused. Filters take any Id instead, so that spend booked under the
 * reserved name can be read.
 */
export const TenantId = Type.String({ minLength: 1, maxLength: 200, format: 'tenant-id' })

export const Uuid = Type.String({ format: 'uuid' })
export const Time = Type.String({ format: 'date-time' })

/** An instant of a request: readInstant() reads it. Answers have `Time`. */
export const TimeInput = Type.Unsafe<SpelledInstant>({
  type: 'string',
  format: 'date-time',
  description: 'RFC 3339. Digits beyond microseconds are cut off.',
})

/** A USD amount of a request: a JSON number by its decimal text, or a decimal string; at least 0 and below 1e9. */
export const UsdInput = Type.Unsafe<number | string>({
  title: 'UsdInput',
  anyOf: [
    { type: 'number', minimum: 0, exclusiveMaximum: 1e9 },
    { type: 'string', pattern: '^[0-9]{1,9}(\\.[0-9]{1,60})?$' },
  ],
  description:
    'An amount in USD, taken exactly as written: a JSON number or a decimal string, at least 0 and below 1,000,000,000. ' +
    'Rounded half up to 12 decimals.',
})

/** A USD amount of an answer: a JSON number in plain digits, all of them. */
export const Usd = Type.Number({
  title: 'Usd',
  description:
    'An amount in USD as a JSON number in plain digits, never with an exponent. It is exact: parse it as a decimal, because a double may not hold all digits.',
})

export const Nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()])

export const ResourceType = Type.Union([Type.Literal('llm'), Type.Literal('e2b')], {
  title: 'ResourceType',
  description: '`llm`: calls of language models. `e2b`: sandboxes.',
})
export const Scope = Type.Union([Type.Literal('platform'), Type.Literal('tenant'), Type.Literal('user')], {
  title: 'Scope',
  description: 'Whose spend counts: all of the platform, one tenant, or one user of a tenant.',
})
export const Period = Type.Union(
  [Type.Literal('hour'), Type.Literal('day'), Type.Literal('week'), Type.Literal('month'), Type.Literal('total')],
  {
    title: 'Period',
    description: 'How often the balance of a quota starts again, in the time zone of the quota. `total` never resets.',
  },
)
export const EnforcementLevel = Type.Union([Type.Literal('enforce'), Type.Literal('warn'), Type.Literal('off')], {
  title: 'EnforcementLevel',
  description:
    '`enforce`: refuse what does not fit. `warn`: allow it and add a warning to the answer. `off`: only count.',
})
export type ResourceType = Static<typeof ResourceType>

export const Labels = Type.Unsafe<Record<string, string>>({
  title: 'Labels',
  type: 'object',
  maxProperties: 16,
  propertyNames: { pattern: '^[a-z][a-z0-9_]{0,62}$' },
  additionalProperties: { type: 'string', maxLength: 200, format: 'label' },
  description: 'At most 16 labels of your own. A name matches [a-z][a-z0-9_]{0,62}; a value has up to 200 characters.',
})

/** Whom a cost is attributed to, in requests. */
export const Attribution = {
  tenant_id: Type.Optional(about(TenantId, 'May be left out if the key is bound to a tenant.')),
  user_id: Type.Optional(
    Nullable(about(Id, 'An id of the user. No e-mail address: cost records hold no personal data.')),
  ),
  conversation_id: Type.Optional(Nullable(Id)),
  path_id: Type.Optional(
    Nullable(about(Id, 'What caused the cost within your product, for instance an agent or a workflow.')),
  ),
  labels: Type.Optional(Labels),
}

export const Limit = Type.Integer({
  minimum: 1,
  maximum: 1000,
  default: 100,
  description: 'The most items that a page holds.',
})
export const Cursor = Type.String({
  minLength: 1,
  maxLength: 500,
  description: '`next_cursor` of the page before. Send the same filter with it.',
})

export const Page = <Schema extends TSchema>(item: Schema) =>
  Type.Object(
    {
      data: Type.Array(item),
      next_cursor: Nullable(
        Type.String({ description: 'Send it as `cursor` to get the next page. Null on the last page.' }),
      ),
    },
    'title' in item ? { title: `${String(item.title)}Page` } : {},
  )

export const Closed = { additionalProperties: false } as const

/** RFC 9457, with the members that every problem of this service has. */
export const ProblemSchema = Type.Object(
  {
    type: Type.String({
      description: 'The path of a page that explains the problem: `/problems/` and the code with hyphens.',
    }),
    title: Type.String({ description: 'The same for every problem with this code.' }),
    status: Type.Integer({ description: 'The HTTP status.' }),
    detail: Type.String({ description: 'What went wrong in this request, for people. Do not parse it.' }),
    instance: Type.String({ description: 'The path of the request.' }),
    code: Type.String({ description: 'What programs should decide by, for instance `price_not_found`.' }),
    request_id: Type.String({ description: 'The same as the header x-request-id. It finds the request in the log.' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object(
          {
            pointer: Type.String({
              description:
                'A JSON Pointer (RFC 6901) into the body, or the name of a parameter. Empty for the whole body.',
            }),
            message: Type.String({ description: 'What is wrong there, or what the field must be.' }),
          },
          { title: 'FieldError' },
        ),
        { description: 'Every place of the request that is wrong.' },
      ),
    ),
    provider: Type.Optional(
      Nullable(Type.String({ description: 'Only of `price_not_found`: the provider that was asked for, if any.' })),
    ),
    model: Type.Optional(Type.String({ description: 'Only of `price_not_found`: the model that was asked for.' })),
    near: Type.Optional(
      Type.Array(
        Type.Object(
          {
            provider: Type.String(),
            model: Type.String({ description: 'A model, an alias of one, or the tier of a sandbox.' }),
            region: Type.Optional(Type.String({ description: 'Only of a sandbox.' })),
          },
          { title: 'NearPrice' },
        ),
        {
          description:
            'Only of `price_not_found`: similar names that have a price at the time that was asked for, the most similar first.',
        },
      ),
    ),
  },
  { title: 'Problem', additionalProperties: true, description: 'A problem in the form of RFC 9457.' },
)
