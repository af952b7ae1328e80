import { Type } from 'typebox'
import { about, Closed, Cursor, Limit, Nullable, Time, TimeInput } from './common.ts'

/** Why a change is made: kept in the audit log, so it holds no personal data. */
export const ReasonHeaders = Type.Object({
  'x-purser-reason': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 500,
      format: 'label',
      description: 'Why you make the change. Kept in the audit log, so it must hold no personal data.',
    }),
  ),
})

const State = (description: string) => Nullable(Type.Object({}, { additionalProperties: true, description }))

export const AuditEntry = Type.Object(
  {
    audit_id: Type.Integer(),
    at: Time,
    principal: Type.String({ description: 'Who made the change: a key, a subject of a token, or the service itself.' }),
    ip: Nullable(Type.String()),
    action: Type.String({ description: 'What was done, for instance `quota.update`.' }),
    subject: Type.String({ description: 'What was changed, for instance `quota:7`.' }),
    before: State('The fields before the change. Null: it did not exist.'),
    after: State('The fields after the change. Null: it is gone.'),
    reason: Nullable(Type.String({ description: 'The x-purser-reason of the request.' })),
    hash: Type.String({ description: 'SHA-256 over this entry and previous_hash, in hexadecimal.' }),
    previous_hash: Nullable(
      Type.String({ description: 'The hash of the entry before. Null: this is the first entry.' }),
    ),
  },
  { title: 'AuditEntry' },
)

export const AuditQuery = Type.Object(
  {
    action: Type.Optional(Type.String({ minLength: 1, maxLength: 100, format: 'label' })),
    principal: Type.Optional(Type.String({ minLength: 1, maxLength: 300, format: 'label' })),
    from: Type.Optional(about(TimeInput, 'Entries of this time or later.')),
    limit: Type.Optional(Limit),
    cursor: Type.Optional(Cursor),
  },
  Closed,
)
