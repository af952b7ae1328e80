import t from 'tap'
import { AmountError, decimal, parseAmountUsd, roundUsd, usdText } from '../../src/domain/money.ts'

t.test('an amount is read by its decimal text and rounded half up to 12 decimals', async (t) => {
  const cases: [string | number, string][] = [
    [0.30000000000000004, '0.3'],
    [0.1, '0.1'],
    [1e-7, '0.0000001'],
    [4e-13, '0'],
    [5e-13, '0.000000000001'],
    [0, '0'],
    [-0, '0'],
    [12, '12'],
    ['0.0000000000005', '0.000000000001'],
    ['0.00000000000049999999', '0'],
    ['0.0000000000015', '0.000000000002'],
    ['0.0000000000025', '0.000000000003'],
    ['1.50', '1.5'],
    ['007', '7'],
    ['999999999.999999999999', '999999999.999999999999'],
  ]
  for (const [given, expected] of cases) t.equal(usdText(parseAmountUsd(given)), expected, String(given))
})

t.test('an amount out of bounds is refused, even if only rounding makes it so', async (t) => {
  for (const given of [-1, -1e-9, 1e9, NaN, Infinity, '1000000000', '999999999.9999999999996']) {
    t.throws(() => parseAmountUsd(given), AmountError, String(given))
  }
})

t.test('a text that is not plain digits is refused', async (t) => {
  for (const given of ['', ' 1', '1 ', '+1', '-1', '1e3', '0x10', '1,5', '.5', '1.', 'NaN', '1'.repeat(31)]) {
    t.throws(() => parseAmountUsd(given), AmountError, JSON.stringify(given))
  }
})

t.test('text is plain digits at any size, without trailing zeros', async (t) => {
  t.equal(usdText(decimal('0.000000000001')), '0.000000000001')
  t.equal(usdText(decimal('123456789012345678901234567890')), '123456789012345678901234567890')
  t.equal(usdText(decimal('1.10').times(decimal('2.0'))), '2.2')
  t.equal(usdText(decimal(-2).times(decimal('0.5'))), '-1')
})

t.test('halves round away from zero, so a reversal has the same amount', async (t) => {
  t.equal(usdText(roundUsd(decimal('0.0000000000005'))), '0.000000000001')
  t.equal(usdText(roundUsd(decimal(0).minus(decimal('0.0000000000005')))), '-0.000000000001')
})
