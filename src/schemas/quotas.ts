import { Type, type Static } from 'typebox'
import {
  Closed,
  EnforcementLevel,
  Id,
  Nullable,
  Period,
  ResourceType,
  Scope,
  TenantId,
  Time,
  TimeInput,
  Usd,
  UsdInput,
} from './common.ts'

/** A quota's running balance, as reservations and the status answer it. Amounts are null where the caller may not see them. */
export const QuotaBalance = Type.Object({
  quota_id: Type.Integer(),
  scope: Scope,
  scope_id: Type.String(),
  period: Period,
  enforcement: EnforcementLevel,
  limit_usd: Nullable(Usd),
  spent_usd: Nullable(Usd),
  reserved_usd: Nullable(Usd),
  remaining_usd: Nullable(Usd),
  reset_at: Time,
})

export const Quota = Type.Object({
  quota_id: Type.Integer(),
  resource_type: ResourceType,
  scope: Scope,
  tenant_id: Nullable(Type.String()),
  user_id: Nullable(Type.String()),
  period: Period,
  limit_usd: Usd,
  enforcement: EnforcementLevel,
  thresholds: Type.Array(Type.Number()),
  time_zone: Type.String(),
  week_starts_on: Type.Integer(),
  billing_day: Type.Integer(),
  raise: Nullable(Type.Object({ limit_usd: Usd, until: Time })),
  created_at: Time,
  updated_at: Time,
})

/** What can be changed of a quota; the rest is its natural key. */
const settings = {
  limit_usd: UsdInput,
  enforcement: Type.Optional(EnforcementLevel),
  thresholds: Type.Optional(
    Type.Array(Type.Number({ exclusiveMinimum: 0, maximum: 10 }), { maxItems: 10, uniqueItems: true }),
  ),
  time_zone: Type.Optional(Type.String({ format: 'time-zone', description: 'IANA name' })),
  week_starts_on: Type.Optional(Type.Integer({ minimum: 1, maximum: 7, description: '1 is Monday' })),
  billing_day: Type.Optional(Type.Integer({ minimum: 1, maximum: 31 })),
  raise: Type.Optional(
    Nullable(
      Type.Object(
        { limit_usd: UsdInput, until: TimeInput },
        { ...Closed, description: 'A limit in force instead, until a moment' },
      ),
    ),
  ),
}

export const QuotaBody = Type.Object(
  {
    resource_type: Type.Optional(ResourceType),
    scope: Scope,
    tenant_id: Type.Optional(Nullable(TenantId)),
    user_id: Type.Optional(Nullable(Id)),
    period: Period,
    ...settings,
  },
  Closed,
)
export type QuotaBody = Static<typeof QuotaBody>

export const QuotasBody = Type.Object({ quotas: Type.Array(QuotaBody, { minItems: 1, maxItems: 1_000 }) }, Closed)

/** What npm run quotas exports and imports: of any length. */
export const QuotaFile = Type.Object({ quotas: Type.Array(QuotaBody) }, Closed)
export type QuotaFile = Static<typeof QuotaFile>

export const QuotasAnswer = Type.Object({
  data: Type.Array(Quota, { description: 'In the order of the request' }),
  made: Type.Integer(),
  changed: Type.Integer(),
})

export const QuotaPatch = Type.Object(
  { ...settings, limit_usd: Type.Optional(UsdInput) },
  { ...Closed, minProperties: 1 },
)
export type QuotaPatch = Static<typeof QuotaPatch>

export const QuotaParams = Type.Object({
  quota_id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
})

export const QuotaPeriod = Type.Object({
  period_starts_at: Time,
  period_ends_at: Time,
  limit_usd: Usd,
  spent_usd: Usd,
  reserved_usd: Usd,
})

const defaultKey = {
  scope: Type.Union([Type.Literal('tenant'), Type.Literal('user')]),
  period: Period,
}
export const QuotaDefault = Type.Object({
  ...defaultKey,
  resource_type: ResourceType,
  limit_usd: Usd,
  enforcement: EnforcementLevel,
  from_environment: Type.Boolean({ description: 'Follows the environment; false once an administrator has set it' }),
  updated_at: Time,
})
export const QuotaDefaultBody = Type.Object(
  {
    ...defaultKey,
    resource_type: Type.Optional(ResourceType),
    limit_usd: UsdInput,
    enforcement: Type.Optional(EnforcementLevel),
  },
  Closed,
)
export type QuotaDefaultBody = Static<typeof QuotaDefaultBody>
export const QuotaDefaultQuery = Type.Object({ ...defaultKey, resource_type: Type.Optional(ResourceType) }, Closed)

export const QuotaStatus = Type.Object({
  as_of: Time,
  data: Type.Array(
    Type.Intersect([
      QuotaBalance,
      Type.Object({
        resource_type: ResourceType,
        percent_used: Nullable(Type.Number()),
        period_starts_at: Time,
        projected_usd: Nullable(Usd),
        largest_holders: Type.Array(
          Type.Object({
            tenant_id: Type.String(),
            user_id: Nullable(Type.String()),
            conversation_id: Nullable(Type.String()),
            reserved_usd: Usd,
            reservations: Type.Integer(),
          }),
          {
            description:
              'Who holds most with open reservations, at most five, as of up to 30 seconds before as_of; of more than 50,000 open ones those that lapse last are looked through',
          },
        ),
      }),
    ]),
  ),
})
