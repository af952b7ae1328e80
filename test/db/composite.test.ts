import fc from 'fast-check'
import t from 'tap'
import { arrayText, compositeArrayText } from '../../src/db/pool/composite.ts'
import { createDatabase } from '../helpers/database.ts'

const { pool } = await createDatabase(t)
const seed = Number(process.env['PURSER_TEST_SEED'] ?? Date.now() % 2 ** 31)
t.comment(`property tests with seed ${seed}; PURSER_TEST_SEED repeats them`)

// Postgres accepts no NUL. All other characters must come back, even those with a meaning in composites or arrays.
const text = fc.oneof(
  fc.string({ unit: 'binary' }).filter((value) => !value.includes('\0')),
  fc.string({ unit: fc.constantFrom('"', '\\', '(', ')', ',', '{', '}', ' ', "'", 'x') }),
  fc.constantFrom('', 'NULL', 'null', '\\N', '()', '""'),
)
// Names as the contract allows them. (V8 13.6 misreads an escaped name after an object with the name "\\".)
const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,62}$/)
const item = fc.record({
  tenant_id: fc.option(text),
  user_id: fc.option(text),
  labels: fc.option(fc.dictionary(name, text)),
})

t.test('Postgres reads an array of composites back as the rows it was made from', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(item, { minLength: 1, maxLength: 5 }), async (items) => {
      await pool.query(
        'drop type if exists pg_temp.odd; create type pg_temp.odd as (tenant_id text, user_id text, labels jsonb)',
      )
      const { rows } = await pool.query('select tenant_id, user_id, labels from unnest($1::pg_temp.odd[])', [
        compositeArrayText(items, ['tenant_id', 'user_id', 'labels']),
      ])
      t.same(rows, JSON.parse(JSON.stringify(items)))
    }),
    { seed, numRuns: 200 },
  )
})

t.test('Postgres reads an array back as the values it was made from', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(text), { maxLength: 5 }), async (values) => {
      const { rows } = await pool.query('select $1::text[] as values', [arrayText(values)])
      t.same(rows, [{ values }])
    }),
    { seed, numRuns: 200 },
  )
  const { rows } = await pool.query('select $1::integer[] as numbers, $2::boolean[] as flags', [
    arrayText([1, null, -3]),
    arrayText([true, false]),
  ])
  t.same(rows, [{ numbers: [1, null, -3], flags: [true, false] }])
})
