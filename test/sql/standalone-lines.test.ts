import t, { type Test } from 'tap'
import { uuidv7 } from 'uuidv7'
import { correctRecord, type Correction } from '../../src/db/costs/correct-record.ts'
import { publishE2bPrices, publishModelPrices } from '../../src/db/prices/price-versions.ts'
import { setEnvironmentDefaults } from '../../src/db/quotas/quota-defaults.ts'
import type { RecordJson } from '../../src/db/costs/cost-records.ts'
import type { ReserveItem } from '../../src/db/reservations/reserve-spend.ts'
import { keepLineFacts } from '../../src/db/archives/archives.ts'
import { rerate } from '../../src/services/costs/rerate.ts'
import { createDatabase } from '../helpers/database.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hold, openSession } from '../helpers/money/spend.ts'

// In the past, so that all cost records are in one month.
const MADE = '2020-11-04T23:00:00Z'
const LATER = '2020-11-05T01:00:00Z'

const database = await createDatabase(t)
const { pool } = database
const session = openSession(t, database.url)
const { db } = session
await session.moveTo(MADE)
await setEnvironmentDefaults(db, [
  { scope: 'tenant', resource_type: 'llm', period: 'day', limit_usd: '1000' },
  { scope: 'tenant', resource_type: 'e2b', period: 'day', limit_usd: '1000' },
])

const actor = { principal: 'a test', ip: null }
const USAGE = { input_tokens: 1_000_000 }

/** Publishes a version of a card, in USD per million input tokens. */
const publish = (model: string, effective_date: string, input: string, more: object = {}) =>
  publishModelPrices(db, [
    { provider: 'acme', model, effective_date, source: 'test', usd_per_mtok: { input }, ...more },
  ])
const publishTier = (tier: string, effective_date: string, usd_per_vcpu_second: string) =>
  publishE2bPrices(db, [
    {
      tier,
      region: 'us-east-1',
      vcpu: 1,
      memory_mib: 1024,
      usd_per_vcpu_second,
      usd_per_gib_second: '0',
      effective_date,
      source: 'test',
    },
  ])

/** A hold for a call of `model`, made at MADE and extended at LATER, on the next day. */
async function holdOverMidnight(tenantId: string, model: string, changes: Partial<ReserveItem> = {}): Promise<string> {
  await session.moveTo(MADE)
  const { rows } = await pool.query<{ price_id: number; model: string }>(
    `select price_id::integer, model from copilot_internal.find_model_price('acme', $1, $2)`,
    [model, MADE],
  )
  const card = rows[0]!
  const item = hold(tenantId, '5', {
    provider: 'acme',
    model,
    priced_model: card.model,
    price_id: card.price_id,
    estimate: { estimated_cost_usd: '5' },
    ttl_seconds: 86_400,
    ...changes,
  })
  await session.reserve(item)
  await session.moveTo(LATER)
  const total = { estimate: { estimated_cost_usd: '6' }, amount_usd: '6' }
  await session.extend({ reservation_id: item.reservation_id, tenant_id: null, total, ttl_seconds: null })
  return item.reservation_id
}

async function commitTokens(reservationId: string, usage: object = USAGE): Promise<string> {
  const item = booking(reservationId, '0', { measure: 'tokens', usage: usage as Record<string, unknown> })
  delete item.cost_usd
  const [settlement] = await session.commit(item)
  if (!('committed' in settlement!.outcome)) throw new Error(JSON.stringify(settlement!.outcome))
  return item.cost_record_id
}

const deleteReservations = () => pool.query('delete from copilot_internal.reservations')

function correct(costRecordId: string, change: Partial<Correction>) {
  const ids = { reversalId: uuidv7(), successorId: uuidv7() }
  const rest = { tenantId: null, provider: null, model: null, reason: 'test' }
  return correctRecord(db, actor, { costRecordId, ...ids, measure: 'tokens', ...rest, ...change })
}

/** The corrected cost. */
const costOf = (corrected: object): number => Number((corrected as { lines: RecordJson[] }).lines[1]!.cost_usd)

async function rerated(): Promise<{ changes: number; undecided: number; unpriced: number; usd: string }> {
  const november = { from: '2020-11-01T00:00:00Z', to: '2020-12-01T00:00:00Z', model: null, apply: true }
  const totals = await rerate({ db, actor }, november, { line: () => {}, progress: () => {} })
  const { changes, undecided, unpriced } = totals
  return { changes, undecided, unpriced, usd: totals.difference_usd.toFixed() }
}

/** Sets cost records back to before migration 0020, and restarts the walk over them. */
async function forgetFacts(): Promise<void> {
  await pool.query(`
    update copilot_internal.llm_cost_records
      set priced_at = null, priced_model = null, reserved_usd = null, estimate_reason = null;
    update copilot_internal.e2b_cost_records set priced_at = null, reserved_usd = null, estimate_reason = null;
    truncate copilot_internal.line_facts;
    update copilot_internal.line_facts_walk
      set recorded_at = '-infinity', cost_record_id = '00000000-0000-0000-0000-000000000000', is_done = false`)
}

const guarantee = (name: string, check: (t: Test) => Promise<void>) =>
  t.test(name, async (t) => {
    await check(t)
    await assertHealthy(t, pool)
    await pool.query(`
      delete from copilot_internal.reservations;
      delete from copilot_internal.llm_cost_records;
      delete from copilot_internal.e2b_cost_records;
      delete from copilot_internal.cost_tail;
      update copilot_internal.quota_periods set spent = 0, reserved = 0`)
  })

guarantee('a commit is priced by the model of its hold, even if the alias has moved since', async (t) => {
  await publish('alias-1', '1970-01-01T00:00:00Z', '1', { aliases: ['alias'] })
  const id = await holdOverMidnight('alias', 'alias')
  await publish('alias-2', '1970-01-01T00:00:00Z', '40', { aliases: ['alias'] })
  const lineId = await commitTokens(id, { input_tokens: 2_000_000 })
  const { rows } = await pool.query(
    `select trim_scale(total_cost_usd)::text as usd, model, priced_model, priced_at, reserved_usd::text
     from copilot_internal.llm_cost_records where cost_record_id = $1`,
    [lineId],
  )
  t.same(rows, [{ usd: '2', model: 'alias', priced_model: 'alias-1', priced_at: new Date(MADE), reserved_usd: '6' }])
  t.match(await rerated(), { changes: 0, usd: '0' }, 're-rating does not use the new model')
  await deleteReservations()
  t.equal(costOf(await correct(lineId, { usage: USAGE })), 1, 'a correction does not use the new model')
})

guarantee('the model that answered is looked up by what its name meant when the hold was made', async (t) => {
  await publish('answers-1', '1970-01-01T00:00:00Z', '1', { aliases: ['answers'] })
  await publish('asked', '1970-01-01T00:00:00Z', '7')
  const id = await holdOverMidnight('answers', 'asked')
  await publish('answers-2', '1970-01-01T00:00:00Z', '40', { aliases: ['answers'] })
  const item = booking(id, '0', { measure: 'tokens', usage: USAGE, model: 'answers' })
  delete item.cost_usd
  const [settlement] = await session.commit(item)
  t.match(settlement!.outcome, { committed: { cost_usd: '1' } })
})

guarantee('a correction after the reservation is deleted uses the prices of when it was made', async (t) => {
  await publish('moment', '1970-01-01T00:00:00Z', '1')
  await publish('moment', '2020-11-05T00:00:00Z', '10')
  const id = await holdOverMidnight('moment', 'moment')
  const lineId = await commitTokens(id)
  await deleteReservations()
  const corrected = await correct(lineId, { usage: { input_tokens: 3_000_000 } })
  t.equal(costOf(corrected), 3)
  t.equal((corrected as { lines: RecordJson[] }).lines[1]!.overrun, false, '6 USD were held')
  const again = await correct((corrected as { lines: RecordJson[] }).lines[1]!.cost_record_id, {
    usage: { input_tokens: 7_000_000 },
  })
  t.match(
    again,
    { lines: [{}, { cost_usd: /^7\./, overrun: true }] },
    'a record made by a correction can be corrected without the reservation too',
  )
})

guarantee('a correction to another model uses what that name meant at the time of the hold', async (t) => {
  await publish('other', '1970-01-01T00:00:00Z', '1')
  await publish('other-1', '1970-01-01T00:00:00Z', '2', { aliases: ['other-name'] })
  const lineId = await commitTokens(await holdOverMidnight('other', 'other'))
  await publish('other-2', '1970-01-01T00:00:00Z', '40', { aliases: ['other-name'] })
  await deleteReservations()
  const renamed = await correct(lineId, { measure: 'cost', cost_usd: '9', model: 'other-name' })
  const successor = (renamed as { lines: RecordJson[] }).lines[1]!
  t.equal(costOf(await correct(successor.cost_record_id, { usage: USAGE })), 2)
})

guarantee('a sandbox commit without a price is re-rated once there is one; a charged lapse never is', async (t) => {
  const sandbox = (tenantId: string, ttlSeconds: number) =>
    hold(tenantId, '5', {
      resource_type: 'e2b',
      tier: 'unpriced',
      region: 'us-east-1',
      estimate: { seconds: 100 },
      on_expiry: 'charge',
      ttl_seconds: ttlSeconds,
    })
  await session.moveTo(MADE)
  const committed = sandbox('rated', 600)
  const lapsed = sandbox('lapsed', 60)
  await session.reserve(committed, lapsed)
  const item = booking(committed.reservation_id, '0', { measure: 'seconds', seconds: '100' })
  delete item.cost_usd
  await session.commit(item)
  await session.moveTo('2020-11-04T23:02:00Z')
  await session.pool.query('select copilot_internal.expire_reservations()')
  const reasons = await pool.query(
    'select tenant_id, estimate_reason from copilot_internal.e2b_cost_records order by tenant_id',
  )
  t.same(reasons.rows, [
    { tenant_id: 'lapsed', estimate_reason: 'lapse' },
    { tenant_id: 'rated', estimate_reason: 'unpriced' },
  ])
  await publishTier('unpriced', '1970-01-01T00:00:00Z', '0.01')
  await deleteReservations()
  t.match(await rerated(), { changes: 1, unpriced: 0, undecided: 0, usd: '-4' })
})

guarantee('the facts of records from before 0020 are kept, in steps, before reservations are deleted', async (t) => {
  await publish('old-1', '1970-01-01T00:00:00Z', '1', { aliases: ['old'] })
  await publish('old-1', '2020-11-05T00:00:00Z', '10')
  const lineIds = [
    await commitTokens(await holdOverMidnight('old', 'old')),
    await commitTokens(await holdOverMidnight('old', 'old')),
  ]
  const goneId = await commitTokens(await holdOverMidnight('old', 'old'))
  await forgetFacts()
  await pool.query(
    `delete from copilot_internal.reservations where reservation_id =
       (select reservation_id from copilot_internal.llm_cost_records where cost_record_id = $1)`,
    [goneId],
  )
  await t.rejects(
    pool.query(`select copilot_internal.delete_settled('2100-01-01Z', 10)`),
    { code: '55000' },
    'no reservation is deleted before its facts are kept',
  )
  await publish('old-2', '1970-01-01T00:00:00Z', '40', { aliases: ['old'] })
  t.equal(costOf(await correct(lineIds[0]!, { usage: USAGE })), 1, 'a correction does not wait for the steps')
  const steps: number[] = []
  for (let looked = 1; looked > 0;) steps.push((looked = await keepLineFacts(db, 2)))
  t.ok(
    steps.every((looked) => looked <= 2),
    `at most two records a step: ${steps.join(', ')}`,
  )
  await pool.query(`select copilot_internal.delete_settled('2100-01-01Z', 10)`)
  t.equal((await pool.query('select from copilot_internal.reservations')).rowCount, 0)
  t.equal(costOf(await correct(lineIds[1]!, { usage: USAGE })), 1)
  t.same(await correct(goneId, { usage: USAGE }), { undated: true })
  t.equal(
    costOf(await correct(goneId, { measure: 'cost', cost_usd: '1' })),
    1,
    'a correction to a given cost needs no facts',
  )
})
