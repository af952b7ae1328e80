import t from 'tap'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import { createEmptyDatabase } from '../helpers/database.ts'
import { downBefore } from '../helpers/down-before.ts'
import { assertHealthy } from '../helpers/money/integrity.ts'
import { booking, hashOf, hashOfSaid, hold, openSession, spending } from '../helpers/money/spend.ts'

const silent = () => {}

t.test(
  'keys of the old release get their tenants; a down migration keeps a key of two tenants for one of them',
  async (t) => {
    const { pool, url } = await createEmptyDatabase(t)
    await migrateUp(pool, silent)
    const session = openSession(t, url)
    const keyed = { idempotency_key: 'one' }
    const [first, second] = [hold('a', '1', keyed), hold('b', '1', keyed)]
    t.match(await session.reserve(first), [{ outcome: { granted: '1' } }])
    t.match(await session.reserve(second), [{ outcome: { granted: '1' } }])
    const sandbox = { resource_type: 'e2b' as const, idempotency_key: 'two' }
    const [call, run, other] = [spending('a', '1', keyed), spending('b', '1', sandbox), spending('b', '1', keyed)]
    t.match(await session.record(call, run), { records: [{ replayed: false }, { replayed: false }] })
    t.match(await session.record(other), { records: [{ replayed: false }] })

    await downBefore(pool, '_keys_of_tenants')
    t.same(
      (await pool.query('select cost_record_id from copilot_internal.record_keys order by idempotency_key')).rows,
      [{ cost_record_id: call.cost_record_id }, { cost_record_id: run.cost_record_id }],
    )
    t.same((await pool.query('select tenant_id, idempotency_key from copilot_internal.reservations order by 1')).rows, [
      { tenant_id: 'a', idempotency_key: 'one' },
      { tenant_id: 'b', idempotency_key: null },
    ])
    // A key without its cost record has no answer to replay.
    await pool.query(
      `insert into copilot_internal.record_keys (principal, idempotency_key, request_hash, cost_record_id, recorded_at)
     values ('test', 'gone', '', gen_random_uuid(), now())`,
    )

    await migrateUp(pool, silent)
    t.same((await pool.query('select tenant_id, idempotency_key from copilot_internal.record_keys order by 1')).rows, [
      { tenant_id: 'a', idempotency_key: 'one' },
      { tenant_id: 'b', idempotency_key: 'two' },
    ])
    t.match(await session.reserve(hold('a', '1', keyed)), [
      { outcome: { replayed: { reservation_id: first.reservation_id } } },
    ])
    t.match(await session.record(spending('a', '1', keyed), spending('b', '1', sandbox)), {
      records: [
        { replayed: true, cost_record_id: call.cost_record_id },
        { replayed: true, cost_record_id: run.cost_record_id },
      ],
    })
    await assertHealthy(t, pool)
  },
)

t.test('after down and up, each release recognises repeats of requests to the other', async (t) => {
  const { pool, url } = await createEmptyDatabase(t)
  await migrateUp(pool, silent)
  const session = openSession(t, url)
  const keyed = (words: string) => ({ idempotency_key: 'one', request_hash: hashOfSaid('said', words) })
  const old = { idempotency_key: 'one', request_hash: hashOf('words') }
  const item = hold('a', '1', keyed('words'))
  await session.reserve(item)
  await session.commit(booking(item.reservation_id, '1', { commit_hash: hashOfSaid('1', 'words') }))
  await session.record(spending('a', '1', keyed('words')))
  const replayed = { outcome: { replayed: { reservation_id: item.reservation_id } } }
  t.match(
    await session.reserve(hold('a', '1', old)),
    [replayed],
    'a repeat to an instance of the previous release is recognised too',
  )

  await downBefore(pool, '_hashes_of_understood_requests')
  const { rows } = await pool.query(`
    select request_hash, commit_hash from copilot_internal.reservations
    union all select request_hash, request_hash from copilot_internal.record_keys`)
  const words = Buffer.from(hashOf('words').slice(2), 'hex')
  t.same(rows, [
    { request_hash: words, commit_hash: words },
    { request_hash: words, commit_hash: words },
  ])

  await migrateUp(pool, silent)
  t.match(await session.reserve(hold('a', '1', keyed('words'))), [replayed])
  t.match(await session.reserve(hold('a', '1', keyed('other'))), [{ outcome: { mismatch: true } }])
  const committed = (hash: string) => session.commit(booking(item.reservation_id, '1', { commit_hash: hash }))
  t.match(await committed(hashOfSaid('1', 'words')), [{ outcome: { committed: {} } }])
  t.match(await committed(hashOfSaid('1', 'other')), [{ outcome: { conflict: 'committed' } }])
  t.match(await session.record(spending('a', '1', keyed('words'))), { records: [{ replayed: true }] })
  t.match(await session.record(spending('a', '1', keyed('other'))), { faults: [{ fault: 'mismatch' }] })
  await assertHealthy(t, pool)
})
