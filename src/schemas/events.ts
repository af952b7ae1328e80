import { Type, type Static } from 'typebox'
import { Cursor, Id, Limit, Nullable, Time, TimeInput, Uuid } from './common.ts'

export const EventType = Type.Union(
  [
    'quota.warning',
    'quota.exceeded',
    'quota.overrun',
    'reservation.late',
    'reservation.lapsed',
    'price.missing',
    'price.stale',
    'usage.unreadable',
    'usage.unread',
    'cost.anomaly',
    'delivery.failed',
    'integrity.broken',
  ].map((type) => Type.Literal(type)),
)

export const EventsQuery = Type.Object(
  {
    type: Type.Optional(EventType),
    tenant_id: Type.Optional(Id),
    from: Type.Optional(TimeInput),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Cursor),
  },
  { additionalProperties: false },
)
export type EventsQuery = Omit<Static<typeof EventsQuery>, 'limit' | 'cursor'>

export const Event = Type.Object({
  event_id: Uuid,
  type: Type.String(),
  created_at: Time,
  tenant_id: Nullable(Type.String()),
  user_id: Nullable(Type.String()),
  quota_id: Nullable(Type.Integer()),
  data: Type.Unsafe<object>({
    type: 'object',
    additionalProperties: true,
    description: 'What happened, by type; amounts are exact numbers, times RFC 3339',
  }),
})
