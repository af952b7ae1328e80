import t from 'tap'
import { sealWith } from '../../src/cache/seal.ts'

const ours = sealWith('secret')
const text = '[{"usd":"1.5"}]\nof two lines'

t.test('what was closed is opened again, by whoever knows the secret', async (t) => {
  t.equal(sealWith('secret').open('key', ours.close('key', text, 60)), text)
  t.equal(ours.open('key', ours.close('key', '', 60)), '')
})

t.test('what was closed for another key or with another secret is not opened', async (t) => {
  t.equal(ours.open('other', ours.close('key', text, 60)), null)
  t.equal(ours.open('key', sealWith('guess').close('key', text, 60)), null)
})

t.test('no character of it can be changed', async (t) => {
  const sealed = ours.close('key', text, 60)
  for (const [place, character] of sealed.split('').entries()) {
    const changed = sealed.slice(0, place) + (character === '7' ? '8' : '7') + sealed.slice(place + 1)
    if (ours.open('key', changed) !== null) t.fail(`opened after a change at ${place}`)
  }
  t.equal(ours.open('key', sealed + ' '), null)
  t.equal(ours.open('key', sealed.slice(0, -1)), null)
})

t.test('what has outlived its time is not opened, even put back by somebody', async (t) => {
  t.equal(ours.open('key', ours.close('key', text, 0)), null)
  t.equal(ours.open('key', ours.close('key', text, -1)), null)
})

t.test('rubbish is not opened and never throws', async (t) => {
  const rubbish = ['', '.', '..', '[]', 'null', text, `1.${'a'.repeat(43)}.x`, `9999999999999.${'é'.repeat(43)}.x`]
  for (const sealed of rubbish) t.equal(ours.open('key', sealed), null)
})
