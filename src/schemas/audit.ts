import { Type } from 'typebox'
import { Closed, Cursor, Limit, Nullable, Time, TimeInput } from './common.ts'

/** Why a change is made: kept in the audit log, so it holds no personal data. */
export const ReasonHeaders = Type.Object({
  'x-purser-reason': Type.Optional(
    Type.String({ minLength: 1, maxLength: 500, format: 'label', description: 'Why; kept in the audit log' }),
  ),
})

const State = Nullable(Type.Object({}, { additionalProperties: true }))

export const AuditEntry = Type.Object({
  audit_id: Type.Integer(),
  at: Time,
  principal: Type.String(),
  ip: Nullable(Type.String()),
  action: Type.String({ description: 'For instance quota.update' }),
  subject: Type.String({ description: 'For instance quota:7' }),
  before: State,
  after: State,
  reason: Nullable(Type.String()),
  hash: Type.String({ description: 'SHA-256 over the entry and previous_hash, hexadecimal' }),
  previous_hash: Nullable(Type.String()),
})

export const AuditQuery = Type.Object(
  {
    action: Type.Optional(Type.String({ minLength: 1, maxLength: 100, format: 'label' })),
    principal: Type.Optional(Type.String({ minLength: 1, maxLength: 300, format: 'label' })),
    from: Type.Optional(TimeInput),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Cursor),
  },
  Closed,
)
