import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findTestFiles, SLOWEST } from './files.ts'

t.test('files and folders are named by arguments, each file runs once, and the slowest is first', async (t) => {
  const [money, price] = ['test/domain/money.test.ts', 'test/domain/price.test.ts']
  t.same(findTestFiles([money, price, money], { [price]: 9 }), [price, money])
  const folder = findTestFiles(['test/domain'], {})
  t.ok(folder.includes(money) && folder.every((file) => file.startsWith('test/domain/')))
  t.ok(findTestFiles([], {}).length > folder.length)
})

t.test('an argument that names no tests is refused', async (t) => {
  t.throws(() => findTestFiles(['test/nowhere'], {}), { message: 'no tests at test/nowhere' })
})

t.test('the slowest files are there', async (t) => {
  for (const file of Object.keys(SLOWEST)) t.ok(existsSync(join(import.meta.dirname, '..', '..', file)), file)
})
