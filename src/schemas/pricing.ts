import { Type, type Static, type TSchema } from 'typebox'
import type { SpelledInstant } from '../domain/instant.ts'
import { BUCKETS } from '../domain/usage/buckets.ts'
import { SEARCH_CONTEXTS } from '../domain/usage/normal-form.ts'
import { Closed, Cursor, Id, Limit, Nullable, Time, TimeInput, Usd, UsdInput } from './common.ts'

/** What a card may charge by the piece. A request that searched has the fee of its search context, or else `request`. */
const FEES = ['web_search', 'request', ...SEARCH_CONTEXTS.map((size) => `request_${size}` as const)] as const

type Amount = number | string

/** Some of the names, each with an amount; `required` names must be there. */
function Amounts<Name extends string>(names: readonly Name[], amount: TSchema, required: readonly Name[] = []) {
  return Type.Unsafe<Partial<Record<Name, Amount>>>({
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, amount])),
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
  })
}

function Modifiers(factor: TSchema) {
  return Type.Unsafe<Record<string, Amount>>({
    type: 'object',
    properties: Object.fromEntries(['batch', 'flex', 'priority', 'fast', 'ultrafast'].map((tier) => [tier, factor])),
    patternProperties: { '^region:[!-~]{1,190}$': factor },
    maxProperties: 50,
    additionalProperties: false,
    description: 'Factors on token rates by service tier and by region:<name>',
  })
}

const Status = Type.Union([Type.Literal('current'), Type.Literal('past'), Type.Literal('scheduled')])
const Source = Type.String({ minLength: 1, maxLength: 400, format: 'label' })
const EffectiveDate = Type.Optional(
  Type.Unsafe<SpelledInstant>({
    ...TimeInput,
    description: 'From when on, also ahead or in the past; without it now, or 1970-01-01 where no version is known yet',
  }),
)
const Replaces = Type.Optional(
  Type.Unsafe<number | true>({
    anyOf: [{ type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }, { const: true }],
    description: 'The price_id of the version of that date that this one supersedes; true: whichever it is',
  }),
)

export const ModelPriceBody = Type.Object(
  {
    provider: Id,
    model: Id,
    aliases: Type.Optional(
      Type.Array(Id, {
        maxItems: 100,
        uniqueItems: true,
        description:
          'Other names of the model. A new name counts from effective_date; one that means another model moves now, or ' +
          'at effective_date if that is later. What was held or booked before keeps its model.',
      }),
    ),
    effective_date: EffectiveDate,
    expires_at: Type.Optional(Nullable(TimeInput)),
    source: Type.Optional(Source),
    replaces: Replaces,
    usd_per_mtok: Amounts(BUCKETS, UsdInput, ['input']),
    usd_per_unit: Type.Optional(Amounts(FEES, UsdInput)),
    long_context: Type.Optional(
      Nullable(
        Type.Object(
          {
            input_tokens_over: Type.Integer({ minimum: 0, maximum: 999_999_999_999 }),
            usd_per_mtok: Amounts(BUCKETS, UsdInput),
          },
          Closed,
        ),
      ),
    ),
    modifiers: Type.Optional(Modifiers(UsdInput)),
  },
  Closed,
)
export type ModelPriceBody = Static<typeof ModelPriceBody>

export const ModelPriceVersion = Type.Object({
  price_id: Type.Integer(),
  provider: Type.String(),
  model: Type.String(),
  aliases: Type.Array(Type.String()),
  effective_date: Time,
  expires_at: Nullable(Time),
  source: Type.String(),
  status: Status,
  usd_per_mtok: Amounts(BUCKETS, Usd),
  usd_per_unit: Amounts(FEES, Usd),
  long_context: Nullable(Type.Object({ input_tokens_over: Type.Integer(), usd_per_mtok: Amounts(BUCKETS, Usd) })),
  modifiers: Modifiers(Type.Number({ description: 'Exact decimal in plain digits' })),
})

const list = {
  at: Type.Optional(TimeInput),
  status: Type.Optional(Status),
  limit: Type.Optional(Limit),
  cursor: Type.Optional(Cursor),
}

export const ModelPricesQuery = Type.Object({ provider: Type.Optional(Id), model: Type.Optional(Id), ...list }, Closed)
export type ModelPricesQuery = Static<typeof ModelPricesQuery>

export const E2bPriceBody = Type.Object(
  {
    tier: Id,
    region: Type.Optional(Id),
    vcpu: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1024 })),
    memory_mib: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_194_304 })),
    usd_per_vcpu_second: UsdInput,
    usd_per_gib_second: UsdInput,
    effective_date: EffectiveDate,
    expires_at: Type.Optional(Nullable(TimeInput)),
    source: Type.Optional(Source),
    replaces: Replaces,
  },
  Closed,
)
export type E2bPriceBody = Static<typeof E2bPriceBody>

export const E2bPriceVersion = Type.Object({
  price_id: Type.Integer(),
  tier: Type.String(),
  region: Type.String(),
  vcpu: Type.Number(),
  memory_mib: Type.Integer(),
  usd_per_vcpu_second: Usd,
  usd_per_gib_second: Usd,
  price_per_second: Type.Number({ description: 'USD a second for the size of the tier' }),
  effective_date: Time,
  expires_at: Nullable(Time),
  source: Type.String(),
  status: Status,
})

export const E2bPricesQuery = Type.Object({ tier: Type.Optional(Id), region: Type.Optional(Id), ...list }, Closed)
export type E2bPricesQuery = Static<typeof E2bPricesQuery>

export const SyncBody = Type.Object(
  { dry_run: Type.Optional(Type.Boolean({ description: 'Only tell what would change' })) },
  Closed,
)
export type SyncBody = Static<typeof SyncBody>

const Figure = Nullable(Type.Number({ description: 'Exact decimal in plain digits' }))
const named = { provider: Type.String(), model: Type.String() }

export const SyncAnswer = Type.Object({
  dry_run: Type.Boolean(),
  added: Type.Array(
    Type.Object({
      ...named,
      effective_date: Time,
      source: Type.String(),
      changes: Type.Array(Type.Object({ bucket: Type.String(), from_usd: Figure, to_usd: Figure })),
    }),
  ),
  unchanged: Type.Integer(),
  aliases: Type.Integer({ description: 'Names that mean a model from now on' }),
  disagreements: Type.Array(
    Type.Object({ ...named, bucket: Type.String(), package_usd: Figure, second_usd: Type.Number() }),
  ),
  held_back: Type.Array(Type.Object({ ...named, effective_date: Time, reason: Type.String() })),
  skipped: Type.Array(Type.Object({ ...named, reason: Type.String() })),
  sources: Type.Array(
    Type.Object({
      name: Type.String(),
      status: Type.Union([Type.Literal('read'), Type.Literal('unread'), Type.Literal('not asked')]),
      detail: Type.String(),
    }),
  ),
})
