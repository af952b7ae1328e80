import { E2B_STANDARD_TIER } from '../../domain/e2b.ts'
import { estimateLlm } from '../../domain/estimate.ts'
import { decimal, isZero, usdText, type Usd } from '../../domain/money.ts'
import { isFreeCard } from '../../domain/price.ts'
import { Problem, invalidRequest, type FieldError } from '../../errors.ts'
import { countTokens } from '../../prices/tokenizer.ts'
import type { ReserveBody } from '../../schemas/reservations.ts'
import type { E2bRequest, LlmRequest, UsageWarning } from '../../schemas/usage.ts'
import { inSpan } from '../../telemetry/spans.ts'
import { amountOf } from '../amount.ts'
import { DEFAULT_REGION, findPrice, priceSandboxRun, type PriceDeps, type SandboxSize } from '../prices/price-lookup.ts'
import type { Principal } from '../keys/principal.ts'
import type { Queues } from '../queues.ts'
import { tierWarnings } from '../costs/usage-warnings.ts'

/** The estimated cost of a reservation, and the columns that describe what it is for. */
export type ReserveEstimate = {
  amountUsd: Usd
  /** Exact USD: the part that a cap cannot reduce, and the price of one more output token or second. */
  fixedUsd: Usd
  perUnitUsd: Usd
  /** The rate card charges nothing for any usage. An estimate of 0 USD alone does not mean that. */
  isFree: boolean
  capsName: 'max_output_tokens' | 'max_runtime_seconds' | null
  priceId: number | null
  warnings: UsageWarning[]
  /** Columns of the reservation. */
  about: {
    provider?: string
    model?: string
    /** The model that the requested name means now. */
    priced_model?: string
    service_tier?: string | null
    region?: string | null
    tier?: string
    vcpu?: string
    memory_mib?: number
    estimate: Record<string, unknown>
  }
}

export type EstimateDeps = PriceDeps & { queues: Pick<Queues, 'emitMissingPrice'> }

const ZERO = decimal(0)

/** Estimates the cost of a reservation. @throws invalidRequest; price_not_found, for which price.missing is emitted. */
export async function estimateReservation(
  deps: EstimateDeps,
  principal: Principal,
  tenantId: string,
  body: ReserveBody,
): Promise<ReserveEstimate> {
  checkReserveSubject(body)
  if (body.estimated_cost_usd !== undefined) {
    const amountUsd = amountOf(body.estimated_cost_usd, '/estimated_cost_usd')
    return {
      amountUsd,
      fixedUsd: amountUsd,
      perUnitUsd: ZERO,
      isFree: false,
      capsName: null,
      priceId: null,
      warnings: [],
      about: { estimate: { estimated_cost_usd: usdText(amountUsd) } },
    }
  }
  if (body.llm !== undefined) return estimateModelCall(deps, principal, tenantId, body.llm)
  const e2b = body.e2b!
  const about = { tier: e2b.tier ?? E2B_STANDARD_TIER, region: e2b.region ?? DEFAULT_REGION }
  return inSpan('e2b.cost.estimate', about, () => estimateSandbox(deps, e2b))
}

function checkReserveSubject(body: ReserveBody): void {
  const errors: FieldError[] = []
  const own = body.resource_type
  const other = own === 'llm' ? 'e2b' : 'llm'
  if (body[other] !== undefined)
    errors.push({ pointer: `/${other}`, message: `cannot be combined with resource_type ${own}` })
  if (body[own] === undefined && body.estimated_cost_usd === undefined) {
    errors.push({ pointer: `/${own}`, message: 'is required, or estimated_cost_usd instead of it' })
  }
  if (body[own] !== undefined && body.estimated_cost_usd !== undefined) {
    errors.push({ pointer: '/estimated_cost_usd', message: `cannot be combined with ${own}` })
  }
  if (body.estimated_cost_usd !== undefined && body.allow_caps === true) {
    errors.push({ pointer: '/allow_caps', message: 'needs llm or e2b: estimated_cost_usd has no units to cap' })
  }
  if (errors.length > 0) throw invalidRequest(errors)
}

async function estimateModelCall(
  deps: EstimateDeps,
  principal: Principal,
  tenantId: string,
  llm: LlmRequest,
): Promise<ReserveEstimate> {
  const price = await findPrice(deps, llm, '/llm').catch(async (error: unknown) => {
    // The request is refused before any decision in SQL, which would emit the event. Emit it here.
    if (error instanceof Problem && error.code === 'price_not_found') {
      const { provider = null, model } = llm
      await deps.queues.emitMissingPrice({ principal: principal.id, tenantId, provider, model })
    }
    throw error
  })
  const inputTokens = await inputTokensOf(price.provider, llm, '/llm')
  const estimate = estimateLlm(price, {
    inputTokens,
    maxOutputTokens: llm.max_output_tokens,
    maxWebSearches: llm.max_web_searches ?? 0,
    serviceTier: llm.service_tier ?? null,
    region: llm.region ?? null,
  })
  return {
    amountUsd: amountOf(estimate.totalUsd, '/llm'),
    fixedUsd: estimate.fixedUsd,
    perUnitUsd: estimate.usdPerOutputToken,
    isFree: isZero(estimate.totalUsd) && isFreeCard(price),
    capsName: 'max_output_tokens',
    priceId: Number(price.priceId),
    warnings: tierWarnings(price, llm.service_tier),
    about: {
      provider: price.provider,
      model: llm.model,
      priced_model: price.model,
      service_tier: llm.service_tier ?? null,
      region: llm.region ?? null,
      estimate: {
        input_tokens: inputTokens,
        max_output_tokens: llm.max_output_tokens,
        ...(llm.max_web_searches === undefined ? {} : { max_web_searches: llm.max_web_searches }),
      },
    },
  }
}

/** Returns the given input_tokens, or counts the tokens of the given text. @throws invalidRequest unless exactly one is given. */
export async function inputTokensOf(
  provider: string,
  llm: { input_tokens?: number; cache_read_tokens?: number; text?: string },
  pointer: string,
): Promise<number> {
  if (llm.input_tokens === undefined && llm.text === undefined) {
    throw invalidRequest([{ pointer: `${pointer}/input_tokens`, message: 'is required, or text instead of it' }])
  }
  if (llm.input_tokens !== undefined && llm.text !== undefined) {
    throw invalidRequest([{ pointer: `${pointer}/text`, message: 'cannot be combined with input_tokens' }])
  }
  const tokens = llm.input_tokens ?? (await countTokens(provider, llm.text!))
  if ((llm.cache_read_tokens ?? 0) > tokens) {
    throw invalidRequest([
      { pointer: `${pointer}/cache_read_tokens`, message: `is more than input_tokens (${tokens})` },
    ])
  }
  return tokens
}

async function estimateSandbox(deps: PriceDeps, e2b: E2bRequest): Promise<ReserveEstimate> {
  const size = sandboxSize(e2b, '/e2b')
  const run = await priceSandboxRun(deps, size, { seconds: e2b.max_seconds }, '/e2b/max_seconds')
  return {
    amountUsd: amountOf(run.costUsd, '/e2b'),
    fixedUsd: ZERO,
    perUnitUsd: run.dearestUsdPerSecond,
    isFree: isZero(run.dearestUsdPerSecond),
    capsName: 'max_runtime_seconds',
    priceId: Number(run.price.priceId),
    warnings: [],
    about: {
      tier: size.tier,
      region: size.region,
      ...(size.vcpu === undefined ? {} : { vcpu: String(size.vcpu), memory_mib: size.memoryMib! }),
      estimate: { seconds: e2b.max_seconds },
    },
  }
}

type SizeRequest = { tier?: string; vcpu?: number; memory_mib?: number; region?: string | null }

/**
 * Reads a sandbox size: a tier, or vCPU and memory priced at the rates of tier standard. Default: tier standard.
 *
 * @throws invalidRequest
 */
export function sandboxSize({ tier, vcpu, memory_mib: memoryMib, region }: SizeRequest, pointer: string): SandboxSize {
  const errors: FieldError[] = []
  if (tier !== undefined && (vcpu !== undefined || memoryMib !== undefined)) {
    errors.push({ pointer: `${pointer}/tier`, message: 'cannot be combined with vcpu and memory_mib' })
  } else if ((vcpu === undefined) !== (memoryMib === undefined)) {
    const missing = vcpu === undefined ? 'vcpu' : 'memory_mib'
    errors.push({
      pointer: `${pointer}/${missing}`,
      message: 'is required: a custom size needs vcpu and memory_mib',
    })
  }
  if (errors.length > 0) throw invalidRequest(errors)
  return {
    tier: tier ?? E2B_STANDARD_TIER,
    region: region ?? DEFAULT_REGION,
    ...(vcpu === undefined || memoryMib === undefined ? {} : { vcpu, memoryMib }),
  }
}
