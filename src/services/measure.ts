import { decimal, usdText } from '../domain/money.ts'
import { checkUsage, normalizeProviderUsage, UsageError, type Usage } from '../domain/usage/index.ts'
import { invalidRequest } from '../errors.ts'
import type { UsageBody } from '../schemas/usage.ts'
import { amountOf } from './amount.ts'

/** What says how much it cost, for the functions in SQL; amounts and seconds as decimal text. */
export type Measure = { measure: 'tokens' | 'seconds' | 'cost'; usage?: Usage; seconds?: string; cost_usd?: string }

type Measured = {
  usage?: UsageBody | undefined
  provider_usage?: Record<string, unknown> | undefined
  cost_usd?: number | string | undefined
}

/**
 * Tokens, seconds or money: exactly one of the three.
 *
 * @param options `costName` is how the request calls the money.
 * @throws invalidRequest at the place that is wrong.
 */
export function measureOf(body: Measured, { costName }: { costName: string }): Measure {
  const names = { usage: 'usage', provider_usage: 'provider_usage', cost_usd: costName } as const
  const given = (['usage', 'provider_usage', 'cost_usd'] as const).filter((name) => body[name] !== undefined)
  if (given.length !== 1) {
    const message = `is required: exactly one of usage, provider_usage and ${costName}`
    throw invalidRequest([{ pointer: `/${names[given[1] ?? 'usage']}`, message }])
  }
  if (body.cost_usd !== undefined) return costMeasure(body.cost_usd, `/${costName}`)
  if (body.provider_usage !== undefined) return providerMeasure(body.provider_usage, '/provider_usage')
  const { seconds, ...tokens } = body.usage!
  if (seconds === undefined) return { measure: 'tokens', usage: tokensOf(tokens, '/usage') }
  if (Object.keys(tokens).length > 0) {
    throw invalidRequest([
      { pointer: '/usage/seconds', message: 'does not go with tokens: a sandbox has seconds only' },
    ])
  }
  return secondsMeasure(seconds)
}

export function costMeasure(costUsd: number | string, pointer: string): Measure {
  return { measure: 'cost', cost_usd: usdText(amountOf(costUsd, pointer)) }
}

export function providerMeasure(providerUsage: Record<string, unknown>, pointer: string): Measure {
  return { measure: 'tokens', usage: inNormalForm(() => normalizeProviderUsage(providerUsage), pointer) }
}

export function secondsMeasure(seconds: number): Measure {
  return { measure: 'seconds', seconds: usdText(decimal(seconds)) }
}

/** Tokens in normal form. @throws invalidRequest at the place that is wrong. */
export function tokensOf(usage: Omit<UsageBody, 'seconds'>, pointer: string): Usage {
  return inNormalForm(() => checkUsage(usage), pointer)
}

export function inNormalForm(read: () => Usage, pointer: string): Usage {
  try {
    return read()
  } catch (error) {
    if (error instanceof UsageError)
      throw invalidRequest([{ pointer: pointer + error.pointer, message: error.message }])
    throw error
  }
}
