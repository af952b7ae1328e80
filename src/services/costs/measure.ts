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

/** The measure that a cost is computed from, for the SQL functions; amounts and seconds as decimal text. */
export type Measure = { measure: 'tokens' | 'seconds' | 'cost'; usage?: Usage; seconds?: string; cost_usd?: string }

/** A measure, and the reading of the usage if it came from one. */
export type Measured = { measure: Measure; reading?: Reading }

type MeasureBody = {
  usage?: UsageBody | undefined
  provider_usage?: Record<string, unknown> | undefined
  cost_usd?: number | string | undefined
}

/**
 * Reads the measure of a request: exactly one of tokens, seconds or money.
 *
 * @param options `costName` is the request's field for money; `source` finds the provider and model if a provider's usage is read.
 * @throws invalidRequest at the wrong field; UsageError if a provider's usage cannot be read.
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
      { pointer: '/usage/seconds', message: 'cannot be combined with tokens: only sandboxes have seconds' },
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

/** Validates usage in our normal form. @throws invalidRequest at the wrong field. */
export function checkedTokens(usage: Omit<UsageBody, 'seconds'>, pointer: string): Reading {
  return orInvalid(() => new Reading(checkUsage(usage)), pointer)
}

/** Reads a provider's usage object. @throws invalidRequest at the field that cannot be read. */
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

/** Builds invalidRequest for a provider's usage that cannot be read. */
export function unreadable(error: UsageError, pointer: string): Problem {
  return invalidRequest([{ pointer: pointer + error.pointer, message: error.message }])
}
