import t from 'tap'
import { costOfE2bRun, E2B_PRESETS, type E2bPrice, type SandboxSize } from '../../src/domain/e2b.ts'
import { decimal, usdText } from '../../src/domain/money.ts'

const rates = { usdPerVcpuSecond: '0.000014', usdPerGibSecond: '0.0000045' }

function version(given: Partial<E2bPrice>): E2bPrice {
  return {
    priceId: '1',
    tier: 'default',
    region: 'us-east-1',
    vcpu: 2,
    memoryMib: 512,
    ...rates,
    effectiveDate: '1970-01-01T00:00:00Z',
    expiresAt: null,
    source: 'test',
    ...given,
  }
}

/** The cost of a run at one price, as decimal text. */
function costText(size: SandboxSize, seconds: number): string | undefined {
  return costOfE2bRun([version({})], size, { startedAt: '2026-11-01T00:00:00Z', seconds }).costUsd?.toFixed()
}

t.test('a run is billed by the second for its allocated size', async (t) => {
  t.equal(costText({ vcpu: 2, memoryMib: 512 }, 3_600), '0.1089')
  t.equal(costText({ vcpu: 2, memoryMib: 2_048 }, 412.6), '0.0152662')
  t.equal(costText({ vcpu: 1, memoryMib: 513 }, 1), '0.000016254395', 'rounded once, half up')
  t.equal(costText({ vcpu: 8, memoryMib: 8_192 }, 0), '0')
})

t.test('every preset is priced by its size', async (t) => {
  const perHour = Object.fromEntries(Object.entries(E2B_PRESETS).map(([tier, size]) => [tier, costText(size, 3_600)]))
  t.same(perHour, {
    nano: '0.0585',
    default: '0.1089',
    small: '0.0666',
    medium: '0.1332',
    large: '0.2664',
    xlarge: '0.468',
    xxlarge: '0.5328',
    standard: '0.1089',
  })
})

t.test('a price change during a run splits the run, to the microsecond', async (t) => {
  const change = '2026-12-01T00:00:00Z'
  const versions = [
    version({ priceId: '2', usdPerVcpuSecond: '0.00002', effectiveDate: change }),
    version({ priceId: '1', expiresAt: change }),
  ]
  const startedAt = '2026-11-30T23:59:50.000001Z'
  const { costUsd, priceId, parts, dearestUsdPerSecond } = costOfE2bRun(versions, null, {
    startedAt,
    seconds: 20,
  })
  // 9.999999 s x 0.00003025 + 10.000001 s x 0.00004225
  t.equal(usdText(costUsd ?? decimal(0)), '0.000725000012')
  t.equal(priceId, '1', 'the version at the start')
  t.equal(usdText(dearestUsdPerSecond), '0.00004225')
  const before = costOfE2bRun(versions, null, { startedAt, seconds: 9.999999 })
  t.equal(
    usdText(before.dearestUsdPerSecond),
    '0.00003025',
    'a rate that applies to no second of the run does not count',
  )
  t.same(
    parts.map((part) => [part.seconds, part.usdPerSecond, part.costUsd].map(usdText)),
    [
      ['10.000001', '0.00004225', '0.00042250004225'],
      ['9.999999', '0.00003025', '0.00030249996975'],
    ],
  )
  const own = costOfE2bRun(versions, { vcpu: 4, memoryMib: 512 }, { startedAt, seconds: 20 })
  t.equal(usdText(own.costUsd ?? decimal(0)), '0.001405000024', 'the price of a custom size')
})

t.test('a run that prices do not cover completely has no cost', async (t) => {
  const versions = [version({ effectiveDate: '2026-01-01T00:00:00Z', expiresAt: '2026-02-01T00:00:00Z' })]
  const run = (startedAt: string, seconds: number) => costOfE2bRun(versions, null, { startedAt, seconds })
  t.match(run('2025-12-31T23:59:59Z', 2), { costUsd: null, priceId: null })
  t.match(run('2026-01-31T23:59:59Z', 2), { costUsd: null, priceId: '1' })
  t.equal(run('2026-01-31T23:59:59Z', 1).costUsd?.toFixed(), '0.00003025', 'the end is exclusive')
  t.match(run('2026-02-01T00:00:00Z', 0), { costUsd: null, priceId: null })
  t.equal(run('2026-01-01T00:00:00Z', 0).costUsd?.toFixed(), '0')
  t.match(costOfE2bRun([], null, { startedAt: new Date(), seconds: 1 }), { costUsd: null, priceId: null })
})
