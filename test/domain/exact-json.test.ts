import t from 'tap'
import { parseJson } from '../../src/domain/exact-json.ts'

t.test('a number that a double can hold stays a number, in any notation', async (t) => {
  for (const [text, value] of [
    ['0.30000000000000004', 0.30000000000000004],
    ['2.9999999999999997e-05', 2.9999999999999997e-5],
    ['3.0000000000000004E-7', 3.0000000000000004e-7],
    ['1.50000000000000000e1', 15],
    ['0000.500000000000000000'.slice(3), 0.5],
    ['1000000000000000000000', 1e21],
    ['-0.000000000000000000', -0],
  ] as const) {
    t.equal(parseJson(text), value, text)
  }
})

t.test('a number that a double cannot hold becomes its decimal text, in plain digits', async (t) => {
  for (const [text, plain] of [
    ['12345678.123456789012', '12345678.123456789012'],
    ['1.23456789012345678e-5', '0.0000123456789012345678'],
    ['1.23456789012345678e+3', '1234.56789012345678'],
    ['0.1000000000000000055511151231257827', '0.1000000000000000055511151231257827'],
    ['-412.60000000000002', '-412.60000000000002'],
  ] as const) {
    t.equal(parseJson(text), plain, text)
  }
  t.equal(parseJson(`0.${'1'.repeat(70)}`), `0.${'1'.repeat(60)}`, 'no more decimals than an amount may have')
})

t.test('a huge or tiny exponent does not make a long text', async (t) => {
  t.equal(parseJson('1.2345678901234567e400'), Infinity)
  t.equal(parseJson('1.2345678901234567e-400'), 0)
  t.equal(parseJson('1.23456789012345678e300'), 1.2345678901234568e300)
})
