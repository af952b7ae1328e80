import t from 'tap'
import { connect } from '../../src/db/pool/connection.ts'
import { findModelPrices } from '../../src/db/prices/prices.ts'
import { createDatabase } from '../helpers/database.ts'
import { setNow } from '../helpers/fake-clock.ts'

const database = await createDatabase(t)
const { pool } = database
const db = connect(database.url)
t.teardown(() => db.destroy())

const LONG_AGO = '1970-01-01T00:00:00Z'
const NOVEMBER = '2026-11-01T00:00:00Z'
const NOW = '2026-11-26T12:00:00Z'
const LATER = '2026-12-15T00:00:00Z'

/** A card of a model, from the earliest date of prices on, with its aliases. */
const card = (model: string, aliases: string[], more: object = {}) => ({
  provider: 'p',
  model,
  source: 'test',
  effective_date: LONG_AGO,
  usd_per_mtok: { input: '1' },
  aliases,
  ...more,
})

async function publish(...versions: object[]): Promise<number> {
  const { rows } = await pool.query<{ aliases_set: number }>(
    'select aliases_set from copilot_internal.publish_model_prices($1)',
    [JSON.stringify(versions)],
  )
  return rows[0]!.aliases_set
}

/**
 * The model whose card prices a name at a moment, or null. Asks SQL and the service, and throws if the two differ.
 */
async function meant(name: string, at: string): Promise<string | null> {
  const { rows } = await pool.query<{ model: string | null }>(
    `select f.model from copilot_internal.find_model_price('p', $1, $2) f`,
    [name, at],
  )
  const { prices } = await findModelPrices(db, 'p', name)
  const inForce = prices.filter(
    ({ pricesFrom, pricesUntil }) =>
      new Date(pricesFrom) <= new Date(at) && (pricesUntil === null || new Date(at) < new Date(pricesUntil)),
  )
  const found = inForce.map(({ model }) => model)
  if (found.length > 1 || (found[0] ?? null) !== rows[0]!.model) {
    throw new Error(`${name} at ${at} is ${rows[0]!.model} in SQL and ${found.join(' and ') || 'nothing'} here`)
  }
  return rows[0]!.model
}

t.before(() => setNow(database, NOW))

t.test('a new alias applies from the effective date of its version', async (t) => {
  t.equal(await publish(card('first', ['first-old'])), 1)
  t.equal(await meant('first-old', '2020-01-01T00:00:00Z'), 'first')
  t.equal(await publish(card('dated', ['dated-name'], { effective_date: NOVEMBER })), 1)
  t.equal(await meant('dated-name', '2026-10-31T23:59:59Z'), null)
  t.equal(await meant('dated-name', NOVEMBER), 'dated')
  t.equal(
    await publish(card('dated', ['dated-name'])),
    1,
    'an earlier version of the card makes its alias apply earlier',
  )
  t.equal(await meant('dated-name', '2026-10-31T23:59:59Z'), 'dated')
  t.equal(await publish(card('dated', ['dated-name'])), 0, 'the same card again changes nothing')
})

t.test('an alias moves from now on: a version dated 1970 does not change past prices', async (t) => {
  await publish(card('moved-1', ['moving']))
  await setNow(database, LATER)
  t.equal(await publish(card('moved-2', ['moving'])), 1)
  await setNow(database, NOW)
  t.equal(await meant('moving', '2020-01-01T00:00:00Z'), 'moved-1')
  t.equal(await meant('moving', '2026-12-14T23:59:59.999Z'), 'moved-1')
  t.equal(await meant('moving', LATER), 'moved-2')
  await setNow(database, '2026-12-20T00:00:00Z')
  t.equal(await publish(card('moved-2', ['moving'])), 0)
  t.equal(await publish(card('moved-1', ['moving'])), 1, 'an alias can move back')
  t.equal(await meant('moving', '2026-12-19T00:00:00Z'), 'moved-2')
  t.equal(await meant('moving', '2026-12-20T00:00:00Z'), 'moved-1')
  await setNow(database, NOW)
})

t.test('an alias of a version with a future date moves on that date', async (t) => {
  await publish(card('waits-1', ['waiting']))
  const later = card('waits-2', ['waiting'], { effective_date: LATER })
  t.equal(await publish(later), 1)
  t.equal(await meant('waiting', NOW), 'waits-1')
  t.equal(await meant('waiting', LATER), 'waits-2')
  t.equal(await publish(later), 0)
  t.equal(await publish(card('waits-3', ['waiting'])), 1, 'a third move applies between the two others')
  t.equal(await meant('waiting', '2026-11-26T11:59:59Z'), 'waits-1')
  t.equal(await meant('waiting', NOW), 'waits-3')
  t.equal(await meant('waiting', LATER), 'waits-2')
})

t.test('a model with the name of an alias takes that name from its publication on', async (t) => {
  await publish(card('owner', ['taken']))
  await setNow(database, LATER)
  t.equal(await publish(card('taken', [])), 1)
  t.equal(await publish(card('taken', [])), 0)
  t.equal(await publish(card('owner', ['taken'])), 0, 'a name with its own card does not become an alias')
  await setNow(database, NOW)
  t.equal(await meant('taken', '2020-01-01T00:00:00Z'), 'owner')
  t.equal(await meant('taken', '2026-12-14T23:59:59Z'), 'owner')
  t.equal(await meant('taken', LATER), 'taken')
  await publish(card('ahead-owner', ['ahead']))
  await publish(card('ahead', [], { effective_date: LATER }))
  t.equal(await meant('ahead', NOW), 'ahead-owner', 'a model with a later date takes the name on that date')
  t.equal(await meant('ahead', LATER), 'ahead')
})

t.test('only an administrator moves an alias that an administrator has set', async (t) => {
  await publish(card('admins-1', ['admins-name'], { source: 'admin' }))
  t.equal(await publish(card('admins-2', ['admins-name'])), 0)
  t.equal(await meant('admins-name', NOW), 'admins-1')
  t.equal(await publish(card('admins-3', ['admins-name'], { source: 'admin: price page' })), 1)
  t.equal(await meant('admins-name', NOW), 'admins-3')
})

t.test('of two models with the same alias in one list, the later one gets it', async (t) => {
  t.equal(await publish(card('pair-1', ['pair']), card('pair-2', ['pair'])), 1)
  t.equal(await meant('pair', '2020-01-01T00:00:00Z'), 'pair-2')
})

t.test('the database refuses a second model for a name at the same moment', async (t) => {
  await publish(card('single', ['single-name']))
  await t.rejects(
    pool.query(
      `insert into copilot_internal.model_aliases (provider, alias, model, source, effective_date)
       values ('p', 'single-name', 'other', 'test', '2026-01-01Z')`,
    ),
    { code: '23P01' },
  )
})
