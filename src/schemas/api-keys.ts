import { Type, type Static } from 'typebox'
import { Closed, Nullable, TenantId, Time, TimeInput, Usd, UsdInput, Uuid } from './common.ts'

export const Role = Type.Union([Type.Literal('admin'), Type.Literal('service'), Type.Literal('viewer')])

export const ApiKeyBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200, format: 'label' }),
    role: Role,
    tenant_id: Type.Optional(Nullable(TenantId)),
    max_record_usd_per_day: Type.Optional(
      Type.Union([UsdInput, Type.Null()], {
        description:
          'The most that POST /v1/cost-records of this key may cost in a day of UTC; above it a list is refused as a whole (403). Null: no ceiling',
      }),
    ),
    expires_at: Type.Optional(Nullable(TimeInput)),
  },
  Closed,
)
export type ApiKeyBody = Static<typeof ApiKeyBody>

export const RotateBody = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 3_600,
        description: 'How long the old secret goes on; 0: not at all',
      }),
    ),
  },
  Closed,
)

const apiKey = {
  key_id: Uuid,
  prefix: Type.String(),
  name: Type.String(),
  role: Role,
  tenant_id: Nullable(Type.String()),
  max_record_usd_per_day: Nullable(Usd),
  created_at: Time,
  expires_at: Nullable(Time),
  last_used_at: Nullable(Time),
  revoked_at: Nullable(Time),
}
export const ApiKey = Type.Object(apiKey)
export const NewApiKey = Type.Object({
  ...apiKey,
  key: Type.String({ description: 'The secret, in this answer only' }),
})
