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
  t.ok((await countTokens('anthropic', `${prose}é`)) >= Math.ceil(bare * 2.1), 'text beyond ASCII')
  t.equal(await countTokens('someone-else', prose), await countTokens('anthropic', prose), 'the widest margin')
  t.equal(await countTokens('openai', ''), 0)
})

t.test('no text has more tokens than bytes', async (t) => {
  for (const text of ['a', '€', '😀', '<|endoftext|>', '\u0000\u0001\u0002', '漢字'.repeat(50), 'é'.repeat(300)]) {
    const count = await countTokens('anthropic', text)
    t.ok(count > 0 && count <= Buffer.byteLength(text), JSON.stringify(text.slice(0, 20)))
  }
})

t.test('a control token in a text is text', async (t) => {
  t.ok((await countTokens('openai', '<|endoftext|>')) > 1)
})

t.test('above the bound the bytes stand for the tokens', async (t) => {
  t.equal(await countTokens('openai', 'é'.repeat(TOKENIZED_BYTES_MAX / 2 + 1)), TOKENIZED_BYTES_MAX + 2)
  t.ok((await countTokens('openai', prose.repeat(30))) < Buffer.byteLength(prose.repeat(30)) / 3)
})

t.test('no text hangs the tokenizer', async (t) => {
  const hostile = {
    'a hundred thousand letters': 'a'.repeat(100_000),
    'as many as are tokenized': 'a'.repeat(TOKENIZED_BYTES_MAX),
    'white space': ' \n'.repeat(TOKENIZED_BYTES_MAX / 2),
    punctuation: '!?'.repeat(TOKENIZED_BYTES_MAX / 2),
    ideographs: '漢字'.repeat(8_000),
    'emoji, cut between and not inside': '😀'.repeat(12_000),
  }
  for (const [name, text] of Object.entries(hostile)) {
    const started = performance.now()
    await countTokens('openai', text)
    const tookMs = performance.now() - started
    // The letters alone took 300 ms at a fifth of the length before long runs were cut.
    t.ok(tookMs < 50, `${name}: ${tookMs.toFixed(1)} ms`)
  }
})

t.test('cutting a long run changes the count by little', async (t) => {
  // The vocabulary has one token for eight of these letters.
  t.ok((await countTokens('openai', 'a'.repeat(8_000))) <= Math.ceil(1_000 * 1.02 * 1.01))
})
