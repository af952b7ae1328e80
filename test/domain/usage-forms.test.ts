import t from 'tap'
import { decimal, type Usd } from '../../src/domain/money.ts'
import { costOfUsage } from '../../src/domain/price.ts'
import { readProviderUsage } from '../../src/domain/usage/index.ts'
import { usageWarnings } from '../../src/services/costs/usage-warnings.ts'
import { distinctCard, SAMPLES, type Sample } from './usage-samples.ts'

function costByHand({ terms, factor = 1, feesUsd = 0 }: Sample): Usd {
  const tokens = terms.reduce((sum, [count, rate]) => sum.plus(decimal(count).times(decimal(rate))), decimal(0))
  return tokens.times(decimal(factor)).times(decimal('0.000001')).plus(decimal(feesUsd))
}

for (const sample of SAMPLES) {
  t.test(`${sample.form}: its cost is the one calculated by hand`, async (t) => {
    const reading = readProviderUsage(sample.raw, sample.source)
    const { costUsd } = costOfUsage(distinctCard, reading.usage)
    t.equal(costUsd.toFixed(), costByHand(sample).toFixed(), JSON.stringify(reading.usage))
    const warnings = usageWarnings(reading, { price: distinctCard, costUsd, asked: {} })
    t.same(
      warnings.map(({ code }) => code),
      sample.warns ?? [],
      JSON.stringify(warnings),
    )
  })
}
