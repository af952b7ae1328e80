import { Type, type Static, type TSchema } from 'typebox'
import type { SpelledInstant } from '../domain/instant.ts'
import { BUCKETS } from '../domain/usage/buckets.ts'
import { SEARCH_CONTEXTS } from '../domain/usage/normal-form.ts'
import { about, Closed, Cursor, Id, Limit, Nullable, Time, TimeInput, Usd, UsdInput } from './common.ts'

/** What a card may charge by the piece. A request that searched has the fee of its search context, or else `request`. */
const FEES = ['web_search', 'request', ...SEARCH_CONTEXTS.map((size) => `request_${size}` as const)] as const

type Amount = number | string

/** Some of the names, each with an amount; `required` names must be there. */
function Amounts<Name extends string>(
  title: string,
  names: readonly Name[],
  amount: TSchema,
  description: string,
  required: readonly Name[] = [],
) {
  return Type.Unsafe<Partial<Record<Name, Amount>>>({
    title,
    type: 'object',
    properties: Object.fromEntries(names.map((name) => [name, amount])),
    ...(required.length > 0 ? { required } : {}),
    additionalProperties: false,
    description,
  })
}

function Modifiers(title: string, factor: TSchema) {
  return Type.Unsafe<Record<string, Amount>>({
    title,
    type: 'object',
    properties: Object.fromEntries(['batch', 'flex', 'priority', 'fast', 'ultrafast'].map((tier) => [tier, factor])),
    patternProperties: { '^region:[!-~]{1,190}$': factor },
    maxProperties: 50,
    additionalProperties: false,
    description: 'Factors on the rates for tokens, by service tier and by `region:<name>`. 0.5 halves them.',
  })
}

const RATES = 'USD for a million tokens of each bucket. A bucket without a rate takes that of the bucket it is part of.'
const FEE_RATES = 'USD for each web search and each request, beside the tokens.'
const TokenRatesInput = Amounts('TokenRatesInput', BUCKETS, UsdInput, RATES, ['input'])
const LongContextRatesInput = Amounts('LongContextRatesInput', BUCKETS, UsdInput, RATES)
const UnitFeesInput = Amounts('UnitFeesInput', FEES, UsdInput, FEE_RATES)
const TokenRates = Amounts('TokenRates', BUCKETS, Usd, RATES)
const UnitFees = Amounts('UnitFees', FEES, Usd, FEE_RATES)

const Status = Type.Union([Type.Literal('current'), Type.Literal('past'), Type.Literal('scheduled')], {
  title: 'PriceStatus',
  description: 'Whether the version is in force now, was in force, or will be.',
})
const Source = Type.String({
  minLength: 1,
  maxLength: 400,
  format: 'label',
  description: 'Where the price is from, for instance the page and its date.',
})
const EffectiveDate = Type.Optional(
  Type.Unsafe<SpelledInstant>({
    ...TimeInput,
    description:
      'From when the version counts; it may be in the past or in the future. Default: now, or 1970-01-01 if there is no version yet.',
  }),
)
const ExpiresAt = Type.Optional(
  Nullable(about(TimeInput, 'Until when it counts at most. Null: until the next version.')),
)
const Replaces = Type.Optional(
  Type.Unsafe<number | true>({
    anyOf: [{ type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }, { const: true }],
    description:
      'The price_id of the version with the same effective_date that this one supersedes. True: whichever version that is.',
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
          'Other names of the model. A new name counts from effective_date. A name that means another model so far moves ' +
          'now, or at effective_date if that is later. What was held or booked before keeps its model.',
      }),
    ),
    effective_date: EffectiveDate,
    expires_at: ExpiresAt,
    source: Type.Optional(Source),
    replaces: Replaces,
    usd_per_mtok: TokenRatesInput,
    usd_per_unit: Type.Optional(UnitFeesInput),
    long_context: Type.Optional(
      Nullable(
        Type.Object(
          {
            input_tokens_over: Type.Integer({ minimum: 0, maximum: 999_999_999_999 }),
            usd_per_mtok: LongContextRatesInput,
          },
          {
            ...Closed,
            title: 'LongContextInput',
            description: 'Rates for a request whose input has more tokens than input_tokens_over.',
          },
        ),
      ),
    ),
    modifiers: Type.Optional(Modifiers('PriceModifiersInput', UsdInput)),
  },
  { ...Closed, title: 'ModelPriceBody' },
)
export type ModelPriceBody = Static<typeof ModelPriceBody>

export const ModelPriceVersion = Type.Object(
  {
    price_id: Type.Integer(),
    provider: Type.String(),
    model: Type.String(),
    aliases: Type.Array(Type.String(), { description: 'Other names that mean the model now or will.' }),
    effective_date: Time,
    expires_at: Nullable(about(Time, 'When it stops to count. Null: it counts until another version follows.')),
    source: Type.String({ description: 'Where the price is from.' }),
    status: Status,
    usd_per_mtok: TokenRates,
    usd_per_unit: UnitFees,
    long_context: Nullable(
      Type.Object(
        { input_tokens_over: Type.Integer(), usd_per_mtok: TokenRates },
        {
          title: 'LongContext',
          description: 'Rates for a request whose input has more tokens than input_tokens_over.',
        },
      ),
    ),
    modifiers: Modifiers('PriceModifiers', Type.Number({ description: 'An exact decimal in plain digits.' })),
  },
  { title: 'ModelPriceVersion' },
)

const list = {
  at: Type.Optional(about(TimeInput, 'Versions that were or will be in force at this time.')),
  status: Type.Optional(Status),
  limit: Type.Optional(Limit),
  cursor: Type.Optional(Cursor),
}

export const ModelPricesQuery = Type.Object({ provider: Type.Optional(Id), model: Type.Optional(Id), ...list }, Closed)
export type ModelPricesQuery = Static<typeof ModelPricesQuery>

export const E2bPriceBody = Type.Object(
  {
    tier: about(Id, 'A size by its name.'),
    region: Type.Optional(about(Id, 'Default: `us-east-1`.')),
    vcpu: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1024 })),
    memory_mib: Type.Optional(Type.Integer({ minimum: 1, maximum: 4_194_304 })),
    usd_per_vcpu_second: UsdInput,
    usd_per_gib_second: UsdInput,
    effective_date: EffectiveDate,
    expires_at: ExpiresAt,
    source: Type.Optional(Source),
    replaces: Replaces,
  },
  { ...Closed, title: 'E2bPriceBody' },
)
export type E2bPriceBody = Static<typeof E2bPriceBody>

export const E2bPriceVersion = Type.Object(
  {
    price_id: Type.Integer(),
    tier: Type.String(),
    region: Type.String(),
    vcpu: Type.Number(),
    memory_mib: Type.Integer(),
    usd_per_vcpu_second: Usd,
    usd_per_gib_second: Usd,
    price_per_second: about(Usd, 'USD a second for the size of the tier.'),
    effective_date: Time,
    expires_at: Nullable(about(Time, 'When it stops to count. Null: it counts until another version follows.')),
    source: Type.String({ description: 'Where the price is from.' }),
    status: Status,
  },
  { title: 'E2bPriceVersion' },
)

export const E2bPricesQuery = Type.Object({ tier: Type.Optional(Id), region: Type.Optional(Id), ...list }, Closed)
export type E2bPricesQuery = Static<typeof E2bPricesQuery>

export const SyncBody = Type.Object(
  { dry_run: Type.Optional(Type.Boolean({ description: 'True: only answer what would change.' })) },
  { ...Closed, title: 'PriceSyncBody' },
)
export type SyncBody = Static<typeof SyncBody>

const Figure = (description: string) => Nullable(Type.Number({ description }))
const named = { provider: Type.String(), model: Type.String() }
const bucket = Type.String({ description: 'A bucket of tokens or a fee.' })

export const SyncAnswer = Type.Object(
  {
    dry_run: Type.Boolean(),
    added: Type.Array(
      Type.Object(
        {
          ...named,
          effective_date: Time,
          source: Type.String(),
          changes: Type.Array(
            Type.Object(
              {
                bucket,
                from_usd: Figure('The rate so far. Null: it had none.'),
                to_usd: Figure('The new rate. Null: it has none any more.'),
              },
              { title: 'PriceChange' },
            ),
          ),
        },
        { title: 'AddedPrice' },
      ),
      { description: 'Versions that were published, or would be.' },
    ),
    unchanged: Type.Integer({ description: 'How many prices are as they were.' }),
    aliases: Type.Integer({ description: 'How many names mean a model from now on.' }),
    disagreements: Type.Array(
      Type.Object(
        {
          ...named,
          bucket,
          package_usd: Figure('What the package says. Null: nothing.'),
          second_usd: Type.Number({ description: 'What the second source says.' }),
        },
        { title: 'PriceDisagreement' },
      ),
      { description: 'Rates on which the sources differ. They were not published.' },
    ),
    held_back: Type.Array(
      Type.Object({ ...named, effective_date: Time, reason: Type.String() }, { title: 'HeldBackPrice' }),
      { description: 'Changes that look wrong, for instance by their size. They were not published.' },
    ),
    skipped: Type.Array(Type.Object({ ...named, reason: Type.String() }, { title: 'SkippedPrice' }), {
      description: 'Prices in a form that cannot be stored.',
    }),
    sources: Type.Array(
      Type.Object(
        {
          name: Type.String(),
          status: Type.Union([Type.Literal('read'), Type.Literal('unread'), Type.Literal('not asked')], {
            description: '`unread`: it could not be read. `not asked`: the settings turn it off.',
          }),
          detail: Type.String(),
        },
        { title: 'PriceSource' },
      ),
    ),
  },
  { title: 'PriceSyncAnswer' },
)
