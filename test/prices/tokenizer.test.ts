import { countTokens as count } from 'gpt-tokenizer/encoding/o200k_base'
import t from 'tap'
import { countTokens, TOKENIZED_BYTES_MAX } from '../../src/prices/tokenizer.ts'

const prose = 'A purser keeps the accounts of a ship, and says what may be spent. '.repeat(20)

t.before(async () => {
  await countTokens('openai', 'load the vocabulary')
})

t.test('the count is a whole number, rounded up after the margin of the provider', async (t) => {
  const openAi = await countTokens('openai', prose)
  t.ok(Number.isInteger(openAi))
  const bare = Math.floor((openAi * 100) / 102)
  t.equal(await countTokens('google', prose), Math.ceil(bare * 1.5))
  t.equal(await countTokens('groq', prose), Math.ceil(bare * 1.5))
  t.equal(await countTokens('anthropic', prose), Math.ceil(bare * 1.5))
  t.ok(
    (await countTokens('anthropic', `${prose}é`)) >= Math.ceil(bare * 2.1),
    'text with non-ASCII characters has a wider margin',
  )
  t.equal(
    await countTokens('someone-else', prose),
    await countTokens('anthropic', prose),
    'an unknown provider has the widest margin',
  )
  t.equal(await countTokens('openai', ''), 0)
})

t.test('no text has more tokens than bytes', async (t) => {
  for (const text of ['a', '€', '😀', '<|endoftext|>', '\u0000\u0001\u0002', '漢字'.repeat(50), 'é'.repeat(300)]) {
    const count = await countTokens('anthropic', text)
    t.ok(count > 0 && count <= Buffer.byteLength(text), JSON.stringify(text.slice(0, 20)))
  }
})

t.test('a control token in a text counts as text', async (t) => {
  t.ok((await countTokens('openai', '<|endoftext|>')) > 1)
})

t.test('above the bound the bytes are counted as tokens', async (t) => {
  t.equal(await countTokens('openai', 'é'.repeat(TOKENIZED_BYTES_MAX / 2 + 1)), TOKENIZED_BYTES_MAX + 2)
  t.ok((await countTokens('openai', prose.repeat(30))) < Buffer.byteLength(prose.repeat(30)) / 3)
})

t.test('a text of a hundred thousand letters is not tokenized', async (t) => {
  t.equal(await countTokens('openai', 'a'.repeat(100_000)), 100_000)
})

t.test(
  'an unbroken run reaches the tokenizer in short pieces only: its time grows with the square of a run',
  async (t) => {
    // The sum shows that the pieces were counted one by one: the whole text would have fewer tokens.
    for (const unit of ['a', ' \n', '!?', '漢字', '😀']) {
      const text = unit.repeat(Math.floor(2_000 / unit.length))
      const characters = Array.from(text)
      let tokens = 0
      for (let at = 0; at < characters.length; at += 256) tokens += count(characters.slice(at, at + 256).join(''))
      t.equal(
        await countTokens('openai', text),
        Math.min(Buffer.byteLength(text), Math.ceil((tokens * 102) / 100)),
        unit,
      )
    }
  },
)

t.test('cutting a long run changes the count only a little', async (t) => {
  // The vocabulary has a single token for eight of these letters.
  t.ok((await countTokens('openai', 'a'.repeat(8_000))) <= Math.ceil(1_000 * 1.02 * 1.01))
})
