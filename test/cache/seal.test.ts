import t from 'tap'
import { sealWith } from '../../src/cache/seal.ts'

const ours = sealWith('secret')
const text = '[{"usd":"1.5"}]\nof two lines'

t.test('a sealed text opens again with the same secret', async (t) => {
  t.equal(sealWith('secret').open('key', ours.close('key', text, 60)), text)
  t.equal(ours.open('key', ours.close('key', '', 60)), '')
})

t.test('a text sealed for another key or with another secret does not open', async (t) => {
  t.equal(ours.open('other', ours.close('key', text, 60)), null)
  t.equal(ours.open('key', sealWith('guess').close('key', text, 60)), null)
})

t.test('a sealed text with any changed character does not open', async (t) => {
  const sealed = ours.close('key', text, 60)
  for (const [place, character] of sealed.split('').entries()) {
    const changed = sealed.slice(0, place) + (character === '7' ? '8' : '7') + sealed.slice(place + 1)
    if (ours.open('key', changed) !== null) t.fail(`opened after a change at ${place}`)
  }
  t.equal(ours.open('key', sealed + ' '), null)
  t.equal(ours.open('key', sealed.slice(0, -1)), null)
})

t.test('an expired text does not open, even if somebody writes it back', async (t) => {
  t.equal(ours.open('key', ours.close('key', text, 0)), null)
  t.equal(ours.open('key', ours.close('key', text, -1)), null)
})

t.test('garbage does not open and never throws', async (t) => {
  const rubbish = ['', '.', '..', '[]', 'null', text, `1.${'a'.repeat(43)}.x`, `9999999999999.${'é'.repeat(43)}.x`]
  for (const sealed of rubbish) t.equal(ours.open('key', sealed), null)
})
