import { Type, type Static } from 'typebox'
import { Closed, EnforcementLevel, Id, Nullable, Period, ResourceType, Scope, Time, Usd, UsdInput } from './common.ts'

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

export const QuotaBody = Type.Object(
  {
    resource_type: Type.Optional(ResourceType),
    scope: Scope,
    tenant_id: Type.Optional(Nullable(Id)),
    user_id: Type.Optional(Nullable(Id)),
    period: Period,
    limit_usd: UsdInput,
    enforcement: Type.Optional(EnforcementLevel),
    thresholds: Type.Optional(
      Type.Array(Type.Number({ exclusiveMinimum: 0, maximum: 10 }), { maxItems: 10, uniqueItems: true }),
    ),
    time_zone: Type.Optional(Type.String({ format: 'time-zone', description: 'IANA name' })),
    week_starts_on: Type.Optional(Type.Integer({ minimum: 1, maximum: 7, description: '1 is Monday' })),
    billing_day: Type.Optional(Type.Integer({ minimum: 1, maximum: 31 })),
    raise: Type.Optional(Nullable(Type.Object({ limit_usd: UsdInput, until: Time }, Closed))),
  },
  Closed,
)
export type QuotaBody = Static<typeof QuotaBody>

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
      }),
    ]),
  ),
})
