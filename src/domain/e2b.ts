import { epochMicros } from './instant.ts'
import { decimal, roundUsd, type Usd } from './money.ts'

/** What a sandbox is allocated, and billed for, whatever of it is used. */
export type SandboxSize = { vcpu: number | string; memoryMib: number }

/** The names of sizes: vCPU and MiB, 1,024 MiB to the GiB. */
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

/** The tier whose rates price a size without a name. */
export const E2B_STANDARD_TIER = 'standard'

export type E2bRates = { usdPerVcpuSecond: string; usdPerGibSecond: string }

/** One version of the rate card of a tier and region, with the size that the tier names. */
export type E2bPrice = E2bRates &
  SandboxSize & {
    priceId: string
    tier: string
    region: string
    /** RFC 3339, UTC; inclusive. */
    effectiveDate: string
    /** RFC 3339, UTC; exclusive; null: open. */
    expiresAt: string | null
    source: string
  }

// 1/1024 has ten decimals, so a product is exact where a division would be cut.
const GIB_PER_MIB = decimal('0.0009765625')
const MICROSECOND = decimal('0.000001')

/** USD for each second that a size runs: vCPU × USD per vCPU-second + GiB × USD per GiB-second. Exact. */
function usdPerSecond(rates: E2bRates, size: SandboxSize): Usd {
  const vcpuUsd = decimal(rates.usdPerVcpuSecond).times(decimal(size.vcpu))
  const memoryUsd = decimal(rates.usdPerGibSecond).times(decimal(size.memoryMib)).times(GIB_PER_MIB)
  return vcpuUsd.plus(memoryUsd)
}

/** What a run costs at one rate card: seconds × USD per second, rounded once: half up at the 12th decimal. */
export function costOfE2b(rates: E2bRates, run: SandboxSize & { seconds: number | string }): Usd {
  return roundUsd(usdPerSecond(rates, run).times(decimal(run.seconds)))
}

export type E2bRunCost = {
  /** Null where no price is known for a part of the run. */
  costUsd: Usd | null
  /** The version in force at the start; null where none is. */
  priceId: string | null
  /** The parts of the run, each at one version's rates; exact, not rounded. */
  parts: { seconds: Usd; usdPerSecond: Usd; costUsd: Usd }[]
  /** The dearest second of the run, exact: a cap of whole seconds at this rate pays for any of them. */
  dearestUsdPerSecond: Usd
}

/**
 * What a run costs across versions of the rate card of one tier and region, second by second: a change of price splits
 * it, to the microsecond. Rounded once: half up at the 12th decimal of the total.
 *
 * The same decimals as the SQL function price_e2b_usage.
 * @param versions of one tier and region, not superseded, so that no two overlap; in any order.
 * @param size null: the tier's own size, as the version of the second has it.
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
