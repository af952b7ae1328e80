import { Type, type Static } from 'typebox'
import { Closed, Cursor, Limit, Nullable, Scope, TenantId, Time, Uuid } from './common.ts'
import { EventType } from './events.ts'

const Kind = Type.Union([Type.Literal('webhook'), Type.Literal('email'), Type.Literal('slack')])
const Url = Type.String({
  maxLength: 2000,
  format: 'url',
  description: 'Of a webhook or a Slack-compatible hook: https, and not of a private network unless that is listed',
})
const To = Type.Array(Type.String({ maxLength: 254, format: 'address' }), {
  minItems: 1,
  maxItems: 20,
  uniqueItems: true,
  description: 'Of an e-mail: who gets it',
})
const Types = Type.Array(EventType, { maxItems: 20, uniqueItems: true, description: 'Empty: every type' })
const settings = {
  url: Type.Optional(Url),
  to: Type.Optional(To),
  tenant_id: Type.Optional(Nullable(TenantId)),
  scope: Type.Optional(Nullable(Scope)),
  enabled: Type.Optional(Type.Boolean({ default: true })),
}

export const EndpointBody = Type.Object({ kind: Kind, types: Types, ...settings }, Closed)
export type EndpointBody = Static<typeof EndpointBody>

export const EndpointPatch = Type.Object(
  { types: Type.Optional(Types), ...settings, enabled: Type.Optional(Type.Boolean()) },
  { ...Closed, minProperties: 1 },
)
export type EndpointPatch = Static<typeof EndpointPatch>

const endpoint = {
  endpoint_id: Uuid,
  kind: Kind,
  url: Type.Optional(Type.String()),
  to: Type.Optional(Type.Array(Type.String())),
  types: Type.Array(Type.String()),
  tenant_id: Nullable(Type.String()),
  scope: Nullable(Type.String()),
  enabled: Type.Boolean(),
  created_at: Time,
  updated_at: Time,
}
export const Endpoint = Type.Object(endpoint)
export const NewEndpoint = Type.Object({
  ...endpoint,
  secret: Type.Optional(Type.String({ description: 'Of a webhook, in this answer only: whsec_ and base64' })),
})

export const RotateSecretBody = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 86_400,
        description: 'How long deliveries are signed with the old secret, too; 0: not at all',
      }),
    ),
  },
  Closed,
)

const DeliveryStatus = Type.Union([Type.Literal('pending'), Type.Literal('delivered'), Type.Literal('failed')])

export const DeliveriesQuery = Type.Object(
  { status: Type.Optional(DeliveryStatus), limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) },
  Closed,
)

export const Delivery = Type.Object({
  delivery_id: Uuid,
  endpoint_id: Uuid,
  event_id: Type.Unsafe<string | null>({ ...Nullable(Uuid), description: 'Null: a test' }),
  status: DeliveryStatus,
  attempts: Type.Integer({ description: 'Those that have begun' }),
  last_status: Type.Unsafe<number | null>({
    ...Nullable(Type.Integer()),
    description: 'Of HTTP or SMTP; null where there was no answer',
  }),
  last_error: Nullable(Type.String()),
  next_attempt_at: Nullable(Time),
  created_at: Time,
  settled_at: Nullable(Time),
})
