import { decimal, usdText } from '../../domain/money.ts'
import {
  checkUsage,
  readProviderUsage,
  UsageError,
  Reading,
  type Usage,
  type UsageSource,
} from '../../domain/usage/index.ts'
import { invalidRequest, type Problem } from '../../errors.ts'
import type { UsageBody } from '../../schemas/usage.ts'
import { amountOf } from '../amount.ts'

/** What says how much it cost, for the functions in SQL; amounts and seconds as decimal text. */
export type Measure = { measure: 'tokens' | 'seconds' | 'cost'; usage?: Usage; seconds?: string; cost_usd?: string }

/** A measure, and how a usage was read for it. */
export type Measured = { measure: Measure; reading?: Reading }

type MeasureBody = {
  usage?: UsageBody | undefined
  provider_usage?: Record<string, unknown> | undefined
  cost_usd?: number | string | undefined
}

/**
 * Tokens, seconds or money: exactly one of the three.
 *
 * @param options `costName` is how the request calls the money; `source` finds who answered, where a provider's usage is to be read.
 * @throws invalidRequest at the place that is wrong; UsageError where a provider's usage cannot be read.
 */
export async function measureOf(
  body: MeasureBody,
  { costName, source }: { costName: string; source: () => Promise<UsageSource> },
): Promise<Measured> {
  const names = { usage: 'usage', provider_usage: 'provider_usage', cost_usd: costName } as const
  const given = (['usage', 'provider_usage', 'cost_usd'] as const).filter((name) => body[name] !== undefined)
  if (given.length !== 1) {
    const message = `is required: exactly one of usage, provider_usage and ${costName}`
    throw invalidRequest([{ pointer: `/${names[given[1] ?? 'usage']}`, message }])
  }
  if (body.cost_usd !== undefined) return { measure: costMeasure(body.cost_usd, `/${costName}`) }
  if (body.provider_usage !== undefined) return tokenMeasure(readProviderUsage(body.provider_usage, await source()))
  const { seconds, ...tokens } = body.usage!
  if (seconds === undefined) return tokenMeasure(checkedTokens(tokens, '/usage'))
  if (Object.keys(tokens).length > 0) {
    throw invalidRequest([
      { pointer: '/usage/seconds', message: 'does not go with tokens: a sandbox has seconds only' },
    ])
  }
  return { measure: secondsMeasure(seconds) }
}

export function tokenMeasure(reading: Reading): Measured {
  return { measure: { measure: 'tokens', usage: reading.usage }, reading }
}

export function costMeasure(costUsd: number | string, pointer: string): Measure {
  return { measure: 'cost', cost_usd: usdText(amountOf(costUsd, pointer)) }
}

export function secondsMeasure(seconds: number): Measure {
  return { measure: 'seconds', seconds: usdText(decimal(seconds)) }
}

/** Tokens in normal form. @throws invalidRequest at the place that is wrong. */
export function checkedTokens(usage: Omit<UsageBody, 'seconds'>, pointer: string): Reading {
  return orInvalid(() => new Reading(checkUsage(usage)), pointer)
}

/** A provider's usage. @throws invalidRequest at the place that cannot be read. */
export function providerTokens(usage: Record<string, unknown>, source: UsageSource, pointer: string): Reading {
  return orInvalid(() => readProviderUsage(usage, source), pointer)
}

function orInvalid(read: () => Reading, pointer: string): Reading {
  try {
    return read()
  } catch (error) {
    throw error instanceof UsageError ? unreadable(error, pointer) : error
  }
}

/** Builds the refusal of a provider's usage that cannot be read. */
export function unreadable(error: UsageError, pointer: string): Problem {
  return invalidRequest([{ pointer: pointer + error.pointer, message: error.message }])
}
