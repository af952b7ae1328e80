import { epochMicros } from './instant.ts'
import { decimal, roundUsd, type Usd } from './money.ts'

/** The size that a sandbox is allocated. E2B bills the allocation, used or not. */
export type SandboxSize = { vcpu: number | string; memoryMib: number }

/** Sizes by tier name, in vCPU and MiB. A GiB has 1,024 MiB. */
export const E2B_PRESETS: Readonly<Record<string, SandboxSize>> = {
  nano: { vcpu: 1, memoryMib: 512 },
  default: { vcpu: 2, memoryMib: 512 },
  small: { vcpu: 1, memoryMib: 1024 },
  medium: { vcpu: 2, memoryMib: 2048 },
  large: { vcpu: 4, memoryMib: 4096 },
  xlarge: { vcpu: 8, memoryMib: 4096 },
  xxlarge: { vcpu: 8, memoryMib: 8192 },
  standard: { vcpu: 2, memoryMib: 512 },
}

/** The tier whose rates price a sandbox when the request gives only vCPU and memory. */
export const E2B_STANDARD_TIER = 'standard'

export type E2bRates = { usdPerVcpuSecond: string; usdPerGibSecond: string }

/** One price version of a tier and region, with the size that the tier stands for. */
export type E2bPrice = E2bRates &
  SandboxSize & {
    priceId: string
    tier: string
    region: string
    /** RFC 3339, UTC; inclusive. */
    effectiveDate: string
    /** RFC 3339, UTC; exclusive. Null: no end is set. */
    expiresAt: string | null
    source: string
  }

// 1/1024 has exactly ten decimals: multiplying by it is exact, where a division would be cut off.
const GIB_PER_MIB = decimal('0.0009765625')
const MICROSECOND = decimal('0.000001')

/** USD for one second: vCPU × USD per vCPU-second + GiB × USD per GiB-second. Exact. */
function usdPerSecond(rates: E2bRates, size: SandboxSize): Usd {
  const vcpuUsd = decimal(rates.usdPerVcpuSecond).times(decimal(size.vcpu))
  const memoryUsd = decimal(rates.usdPerGibSecond).times(decimal(size.memoryMib)).times(GIB_PER_MIB)
  return vcpuUsd.plus(memoryUsd)
}

export type E2bRunCost = {
  /** Null when some part of the run has no known price. */
  costUsd: Usd | null
  /** The version in force when the run starts; null if there is none. */
  priceId: string | null
  /** One part for each price version that the run touches. Amounts are exact, not rounded. */
  parts: { seconds: Usd; usdPerSecond: Usd; costUsd: Usd }[]
  /**
   * The highest rate that any second of the run has, exact. Used to turn an amount of money into a cap of whole
   * seconds that the amount surely pays for.
   */
  dearestUsdPerSecond: Usd
}

/**
 * Prices a sandbox run across the price versions of one tier and region. Where the price changes during the run, the
 * run is split at that moment, to the microsecond. Rounded once: half up at the 12th decimal of the total.
 *
 * The SQL function price_e2b_usage computes the same decimals.
 * @param versions of one tier and region, in any order; none superseded, so no two overlap.
 * @param size null: the size of the tier, as each version states it.
 */
export function costOfE2bRun(
  versions: readonly E2bPrice[],
  size: SandboxSize | null,
  run: { startedAt: Date | string; seconds: number | string },
): E2bRunCost {
  const startedAt = epochMicros(run.startedAt)
  const secondsUntil = (at: string) => decimalOfMicros(epochMicros(at) - startedAt)
  const seconds = decimal(run.seconds)
  let priceId: string | null = null
  let covered = decimal(0)
  let dearestUsdPerSecond = decimal(0)
  const parts: E2bRunCost['parts'] = []
  for (const version of versions) {
    const startsAfter = secondsUntil(version.effectiveDate)
    const endsAfter = version.expiresAt === null ? null : secondsUntil(version.expiresAt)
    if (startsAfter.gt(seconds) || (endsAfter !== null && endsAfter.lte(0))) continue
    if (startsAfter.lte(0)) priceId = version.priceId
    const from = startsAfter.gt(0) ? startsAfter : decimal(0)
    const until = endsAfter !== null && endsAfter.lt(seconds) ? endsAfter : seconds
    const ran = until.minus(from)
    const rate = usdPerSecond(version, size ?? version)
    if (ran.gt(0) && rate.gt(dearestUsdPerSecond)) dearestUsdPerSecond = rate
    covered = covered.plus(ran)
    parts.push({ seconds: ran, usdPerSecond: rate, costUsd: rate.times(ran) })
  }
  const exactUsd = parts.reduce((sum, { costUsd }) => sum.plus(costUsd), decimal(0))
  const costUsd = priceId !== null && covered.eq(seconds) ? roundUsd(exactUsd) : null
  return { costUsd, priceId, parts, dearestUsdPerSecond }
}

function decimalOfMicros(micros: bigint): Usd {
  return MICROSECOND.times(decimal(micros))
}
