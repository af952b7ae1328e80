import { Type, type Static } from 'typebox'
import { about, Closed, Nullable, TenantId, Time, TimeInput, Usd, UsdInput, Uuid } from './common.ts'

export const Role = Type.Union([Type.Literal('admin'), Type.Literal('service'), Type.Literal('viewer')], {
  title: 'Role',
  description: '`admin` may do everything. `service` reserves, commits and records. `viewer` reads.',
})

export const ApiKeyBody = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200, format: 'label' }),
    role: Role,
    tenant_id: Type.Optional(
      Nullable(about(TenantId, 'Binds the key to one tenant. Null: the key acts for every tenant.')),
    ),
    max_record_usd_per_day: Type.Optional(
      Type.Union([UsdInput, Type.Null()], {
        description:
          'The most that cost records of this key may cost in a day of UTC. A request of POST /v1/cost-records that would exceed it is refused as a whole (403). Null: no ceiling.',
      }),
    ),
    expires_at: Type.Optional(Nullable(about(TimeInput, 'Null: the key does not expire.'))),
  },
  { ...Closed, title: 'ApiKeyBody' },
)
export type ApiKeyBody = Static<typeof ApiKeyBody>

export const RotateBody = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 3_600,
        description: 'How long the old secret still works. 0: it stops working at once.',
      }),
    ),
  },
  { ...Closed, title: 'RotateKeyBody' },
)

const apiKey = {
  key_id: Uuid,
  prefix: Type.String({ description: 'How the secret starts, to tell keys apart.' }),
  name: Type.String(),
  role: Role,
  tenant_id: Nullable(Type.String({ description: 'The tenant that the key is bound to. Null: every tenant.' })),
  max_record_usd_per_day: Nullable(
    about(Usd, 'The most that cost records of this key may cost in a day of UTC. Null: no ceiling.'),
  ),
  created_at: Time,
  expires_at: Nullable(Time),
  last_used_at: Nullable(Time),
  revoked_at: Nullable(Time),
}
export const ApiKey = Type.Object(apiKey, { title: 'ApiKey' })
export const NewApiKey = Type.Object(
  {
    ...apiKey,
    key: Type.String({ description: 'The secret. No other answer shows it, so keep it.' }),
  },
  { title: 'NewApiKey' },
)
