import { Type, type Static } from 'typebox'
import { about, Cursor, Id, Limit, Nullable, Time, TimeInput, Uuid } from './common.ts'

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
  { title: 'EventType', description: 'docs/events.md says what each type means and what to do.' },
)

export const EventsQuery = Type.Object(
  {
    type: Type.Optional(EventType),
    tenant_id: Type.Optional(Id),
    from: Type.Optional(about(TimeInput, 'Events created at this time or later.')),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Cursor),
  },
  { additionalProperties: false },
)
export type EventsQuery = Omit<Static<typeof EventsQuery>, 'limit' | 'cursor'>

export const Event = Type.Object(
  {
    event_id: Uuid,
    type: about(Type.String(), 'One of EventType. A later version may add types.'),
    created_at: Time,
    tenant_id: Nullable(Type.String({ description: 'Null: the event concerns no tenant.' })),
    user_id: Nullable(Type.String()),
    quota_id: Nullable(Type.Integer()),
    data: Type.Unsafe<object>({
      type: 'object',
      additionalProperties: true,
      description: 'What happened; the fields depend on the type. Amounts are exact numbers, times RFC 3339.',
    }),
  },
  { title: 'Event' },
)
