import { Type, type Static } from 'typebox'
import {
  about,
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
export const QuotaBalance = Type.Object(
  {
    quota_id: Type.Integer(),
    scope: Scope,
    scope_id: Type.String({ description: 'The tenant or the user whose quota it is, or `platform`.' }),
    period: Period,
    enforcement: EnforcementLevel,
    limit_usd: Nullable(Usd),
    spent_usd: Nullable(about(Usd, 'Booked in the running period.')),
    reserved_usd: Nullable(about(Usd, 'Held by open reservations.')),
    remaining_usd: Nullable(about(Usd, 'What may still be reserved, and never below 0.')),
    reset_at: about(Time, 'When the next period starts. 9999-12-31T00:00:00Z for `total`, which never resets.'),
  },
  {
    title: 'QuotaBalance',
    description: 'A quota and what is left of it in the running period. Amounts are null if this key may not see them.',
  },
)

const Thresholds = Type.Array(Type.Number({ exclusiveMinimum: 0, maximum: 10 }), {
  maxItems: 10,
  uniqueItems: true,
  description: 'Shares of the limit at which a `quota.warning` event is emitted: 0.8 is 80 %. Default: 0.8 and 0.9.',
})

export const Quota = Type.Object(
  {
    quota_id: Type.Integer(),
    resource_type: ResourceType,
    scope: Scope,
    tenant_id: Nullable(Type.String()),
    user_id: Nullable(Type.String()),
    period: Period,
    limit_usd: about(Usd, 'The limit for each period, without a raise.'),
    enforcement: EnforcementLevel,
    thresholds: Type.Array(Type.Number(), {
      description: 'Shares of the limit at which a `quota.warning` event is emitted: 0.8 is 80 %.',
    }),
    time_zone: Type.String({ description: 'IANA name of the time zone in which periods start.' }),
    week_starts_on: Type.Integer({ description: '1 is Monday, 7 is Sunday. Used if the period is `week`.' }),
    billing_day: Type.Integer({ description: 'The day, 1 to 31, on which a `month` starts.' }),
    raise: Nullable(
      Type.Object(
        { limit_usd: Usd, until: Time },
        { title: 'QuotaRaise', description: 'A limit that replaces limit_usd until a point in time.' },
      ),
    ),
    created_at: Time,
    updated_at: Time,
  },
  { title: 'Quota' },
)

/** What can be changed of a quota; the rest is its natural key. */
const settings = {
  limit_usd: about(UsdInput, 'The limit for each period.'),
  enforcement: Type.Optional(EnforcementLevel),
  thresholds: Type.Optional(Thresholds),
  time_zone: Type.Optional(
    Type.String({
      format: 'time-zone',
      description: 'IANA name of the time zone in which periods start. Default: UTC.',
    }),
  ),
  week_starts_on: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 7, description: '1 is Monday, 7 is Sunday. Default: 1.' }),
  ),
  billing_day: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 31,
      description: 'The day on which a `month` starts; in a shorter month its last day. Default: 1.',
    }),
  ),
  raise: Type.Optional(
    Nullable(
      Type.Object(
        { limit_usd: UsdInput, until: TimeInput },
        {
          ...Closed,
          title: 'QuotaRaiseInput',
          description: 'A limit that replaces limit_usd until a point in time. Null: no raise.',
        },
      ),
    ),
  ),
}

export const QuotaBody = Type.Object(
  {
    resource_type: Type.Optional(about(ResourceType, 'Default: `llm`.')),
    scope: Scope,
    tenant_id: Type.Optional(Nullable(about(TenantId, 'Required for the scopes `tenant` and `user`.'))),
    user_id: Type.Optional(Nullable(about(Id, 'Required for the scope `user`.'))),
    period: Period,
    ...settings,
  },
  { ...Closed, title: 'QuotaBody' },
)
export type QuotaBody = Static<typeof QuotaBody>

export const QuotasBody = Type.Object(
  { quotas: Type.Array(QuotaBody, { minItems: 1, maxItems: 1_000 }) },
  { ...Closed, title: 'QuotasBody' },
)

/** What npm run quotas exports and imports: of any length. */
export const QuotaFile = Type.Object({ quotas: Type.Array(QuotaBody) }, Closed)
export type QuotaFile = Static<typeof QuotaFile>

export const QuotasAnswer = Type.Object(
  {
    data: Type.Array(Quota, { description: 'The quotas in the order of the request.' }),
    made: Type.Integer({ description: 'How many quotas are new.' }),
    changed: Type.Integer({ description: 'How many quotas existed before.' }),
  },
  { title: 'QuotasAnswer' },
)

export const QuotaPatch = Type.Object(
  { ...settings, limit_usd: Type.Optional(settings.limit_usd) },
  { ...Closed, title: 'QuotaPatch', minProperties: 1 },
)
export type QuotaPatch = Static<typeof QuotaPatch>

export const QuotaParams = Type.Object({
  quota_id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
})

export const QuotaPeriod = Type.Object(
  {
    period_starts_at: Time,
    period_ends_at: about(Time, 'Exclusive.'),
    limit_usd: about(Usd, 'The limit in that period. For the running one, the limit now.'),
    spent_usd: Usd,
    reserved_usd: about(Usd, 'Held by reservations that are still open.'),
  },
  { title: 'QuotaPeriod' },
)

const defaultKey = {
  scope: Type.Union([Type.Literal('tenant'), Type.Literal('user')], {
    description: 'Who gets the quota: every tenant, or every user of a tenant.',
  }),
  period: Period,
}
export const QuotaDefault = Type.Object(
  {
    ...defaultKey,
    resource_type: ResourceType,
    limit_usd: Usd,
    enforcement: EnforcementLevel,
    from_environment: Type.Boolean({
      description: 'True: it follows the settings of the service. False: an administrator has set it.',
    }),
    updated_at: Time,
  },
  { title: 'QuotaDefault' },
)
export const QuotaDefaultBody = Type.Object(
  {
    ...defaultKey,
    resource_type: Type.Optional(about(ResourceType, 'Default: `llm`.')),
    limit_usd: UsdInput,
    enforcement: Type.Optional(EnforcementLevel),
  },
  { ...Closed, title: 'QuotaDefaultBody' },
)
export type QuotaDefaultBody = Static<typeof QuotaDefaultBody>
export const QuotaDefaultQuery = Type.Object(
  { ...defaultKey, resource_type: Type.Optional(about(ResourceType, 'Default: `llm`.')) },
  Closed,
)

const QuotaHolder = Type.Object(
  {
    tenant_id: Type.String(),
    user_id: Nullable(Type.String()),
    conversation_id: Nullable(Type.String()),
    reserved_usd: Usd,
    reservations: Type.Integer({ description: 'How many reservations are open.' }),
  },
  { title: 'QuotaHolder' },
)

export const QuotaStatus = Type.Object(
  {
    as_of: about(Time, 'When these amounts were read. They may come from a cache.'),
    data: Type.Array(
      Type.Intersect(
        [
          QuotaBalance,
          Type.Object({
            resource_type: ResourceType,
            percent_used: Nullable(
              Type.Number({ description: 'Spent, in percent of the limit, to two decimals. Null if the limit is 0.' }),
            ),
            period_starts_at: Time,
            projected_usd: Nullable(
              about(
                Usd,
                'What will be spent at the end of the period if spending goes on as it has so far. Null for `total`.',
              ),
            ),
            largest_holders: Type.Array(QuotaHolder, {
              description:
                'Who holds the most with open reservations, at most five. Read up to 30 seconds before as_of. ' +
                'Of more than 50,000 open reservations, only the 50,000 that expire last are counted.',
            }),
          }),
        ],
        { title: 'QuotaStatus' },
      ),
    ),
  },
  { title: 'QuotaStatusAnswer' },
)
