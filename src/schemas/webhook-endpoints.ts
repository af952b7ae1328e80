import { Type, type Static } from 'typebox'
import { about, Closed, Cursor, Limit, Nullable, Scope, TenantId, Time, Uuid } from './common.ts'
import { EventType } from './events.ts'

const Kind = Type.Union([Type.Literal('webhook'), Type.Literal('email'), Type.Literal('slack')], {
  title: 'EndpointKind',
  description: 'How events are delivered. `slack` is any hook that takes messages in the form of Slack.',
})
const Url = Type.String({
  maxLength: 2000,
  format: 'url',
  description:
    'Required for `webhook` and `slack`. https, and no address of a private network unless PURSER_WEBHOOK_PRIVATE_TARGETS lists it.',
})
const To = Type.Array(Type.String({ maxLength: 254, format: 'address' }), {
  minItems: 1,
  maxItems: 20,
  uniqueItems: true,
  description: 'Required for `email`: the addresses that get it.',
})
const Types = Type.Array(EventType, {
  maxItems: 20,
  uniqueItems: true,
  description: 'Which events to deliver. Empty: every type.',
})
const settings = {
  url: Type.Optional(Url),
  to: Type.Optional(To),
  tenant_id: Type.Optional(Nullable(about(TenantId, 'Only events of this tenant. Null: of every tenant.'))),
  scope: Type.Optional(Nullable(about(Scope, 'Only events of this scope. Null: of every scope.'))),
  enabled: Type.Optional(Type.Boolean({ default: true })),
}

export const EndpointBody = Type.Object(
  { kind: Kind, types: Types, ...settings },
  { ...Closed, title: 'WebhookEndpointBody' },
)
export type EndpointBody = Static<typeof EndpointBody>

export const EndpointPatch = Type.Object(
  { types: Type.Optional(Types), ...settings, enabled: Type.Optional(Type.Boolean()) },
  { ...Closed, title: 'WebhookEndpointPatch', minProperties: 1 },
)
export type EndpointPatch = Static<typeof EndpointPatch>

const endpoint = {
  endpoint_id: Uuid,
  kind: Kind,
  url: Type.Optional(Type.String({ description: 'Only of `webhook` and `slack`.' })),
  to: Type.Optional(Type.Array(Type.String(), { description: 'Only of `email`.' })),
  types: Type.Array(Type.String(), { description: 'Empty: every type.' }),
  tenant_id: Nullable(Type.String()),
  scope: Nullable(Type.String()),
  enabled: Type.Boolean(),
  created_at: Time,
  updated_at: Time,
}
export const Endpoint = Type.Object(endpoint, { title: 'WebhookEndpoint' })
export const NewEndpoint = Type.Object(
  {
    ...endpoint,
    secret: Type.Optional(
      Type.String({
        description:
          'Only of `webhook`: the secret that deliveries are signed with, `whsec_` and base64. No other answer shows it, so keep it.',
      }),
    ),
  },
  { title: 'NewWebhookEndpoint' },
)

export const RotateSecretBody = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 86_400,
        description: 'How long deliveries are also signed with the old secret. 0: only with the new one.',
      }),
    ),
  },
  { ...Closed, title: 'RotateSecretBody' },
)

const DeliveryStatus = Type.Union([Type.Literal('pending'), Type.Literal('delivered'), Type.Literal('failed')], {
  title: 'DeliveryStatus',
  description: '`pending`: an attempt is still to come. `failed`: the last attempt failed.',
})

export const DeliveriesQuery = Type.Object(
  { status: Type.Optional(DeliveryStatus), limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) },
  Closed,
)

export const Delivery = Type.Object(
  {
    delivery_id: Uuid,
    endpoint_id: Uuid,
    event_id: Type.Unsafe<string | null>({ ...Nullable(Uuid), description: 'Null: the delivery is a test.' }),
    status: DeliveryStatus,
    attempts: Type.Integer({ description: 'How many attempts have started.' }),
    last_status: Type.Unsafe<number | null>({
      ...Nullable(Type.Integer()),
      description: 'The status of HTTP or SMTP that the last attempt got. Null: it got no answer.',
    }),
    last_error: Nullable(Type.String({ description: 'Why the last attempt failed, for people.' })),
    next_attempt_at: Nullable(Time),
    created_at: Time,
    settled_at: Nullable(about(Time, 'When it was delivered or had failed for good.')),
  },
  { title: 'Delivery' },
)
