import { drawAttribution, type Tenant } from './tenants.ts'
import type { Random } from './random.ts'
import { OPEN_TTL_SECONDS, type Step } from './step.ts'

type Size = { tier: string } | { vcpu: number; memory_mib: number } | Record<string, never>

/** Named sizes, custom sizes, and no size, which means tier standard. */
const SIZES: readonly Size[] = [
  { tier: 'small' },
  { vcpu: 2, memory_mib: 4_096 },
  { tier: 'medium' },
  {},
  { tier: 'large' },
  { tier: 'nano' },
  { vcpu: 0.5, memory_mib: 768 },
  { tier: 'xlarge' },
]

/** 8 vCPU and 8 GiB for a day cost about 12.79 USD. */
const TOO_DEAR = { size: { tier: 'xxlarge' }, maxSeconds: 86_400 }

/** A tenant's sandboxes, in the order they are started. */
export function planSandboxRuns(random: Random, tenant: Tenant): Step[] {
  const runs = Array.from({ length: tenant.sandboxRuns }, (_, index) => planRun(random, tenant, index))
  const open = Array.from({ length: tenant.sandboxesLeftOpen }, () => planOpen(random, tenant))
  const tooDear = Array.from({ length: tenant.sandboxesTooDear }, () => planTooDear(random, tenant))
  return [...runs, ...open, ...tooDear]
}

function planRun(random: Random, tenant: Tenant, index: number): Step {
  const size = SIZES[index % SIZES.length]!
  const maxSeconds = random.pick([60, 300, 900, 1_800, 3_600])
  // Some run longer than they were reserved for.
  const seconds = toThousandth(maxSeconds * (random.chance(0.1) ? 1.02 : 0.05 + random.next() * 0.9))
  const commit = {
    usage: { seconds },
    sandbox_id: `sbx-${random.whole(0, 0xff_ff_ff).toString(16).padStart(6, '0')}`,
    execution: { language: random.pick(['python', 'javascript', 'bash']), duration_ms: seconds * 1_000, exit_code: 0 },
    resources: { cpu_core_seconds: toThousandth(seconds * 0.3), memory_gb_seconds: toThousandth(seconds * 0.2) },
  }
  return { ...sandbox(random, tenant, size, maxSeconds), kind: 'as reserved', next: { commit } }
}

function planOpen(random: Random, tenant: Tenant): Step {
  const step = sandbox(random, tenant, { tier: 'medium' }, 1_800)
  return {
    ...step,
    kind: 'left open',
    reserve: { ...step.reserve, ttl_seconds: OPEN_TTL_SECONDS, on_expiry: 'release' },
    next: 'leave open',
  }
}

function planTooDear(random: Random, tenant: Tenant): Step {
  const step = sandbox(random, tenant, TOO_DEAR.size, TOO_DEAR.maxSeconds)
  return { ...step, kind: 'released', next: { release: { reason: 'not needed' } } }
}

function sandbox(random: Random, tenant: Tenant, size: Size, maxSeconds: number) {
  const tier = 'tier' in size ? size.tier : 'standard'
  const e2b = { ...size, max_seconds: maxSeconds }
  return {
    resourceType: 'e2b',
    reserve: { resource_type: 'e2b', ...drawAttribution(random, tenant), e2b },
    asked: tier,
    booked: tier,
  } as const
}

function toThousandth(value: number): number {
  return Number(value.toFixed(3))
}
