import { mkdirSync, readFileSync, readdirSync, rmdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { carryArchive } from '../../src/db/archives/archives.ts'
import { connect } from '../../src/db/pool/connection.ts'
import { fanOutEvents } from '../../src/db/alerts/deliveries.ts'
import { setQuotas } from '../../src/db/quotas/quotas.ts'
import {
  keepRetention,
  planRetention,
  restorePartition,
  type Retention,
} from '../../src/services/archives/retention.ts'
import { insertCostLines } from '../helpers/money/cost-lines.ts'
import { costsReader } from '../helpers/money/costs.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/servers/service.ts'
import { booking, hold, openSession, spending } from '../helpers/money/spend.ts'

const database = await createDatabase(t)
const { pool } = database
const archiveDir = join(t.testdir(), 'archive')
// The same roles as in the service: the service's role must have all the rights that this needs.
const roles = { service: true, reader: true }
const db = connect(database.url, { connectionsMax: 1, statementMs: 60_000, roles })
t.teardown(() => db.destroy())
const retention: Retention = { db, archiveDir, retentionDays: 90, archiveYears: 7, reservationDays: 30, eventDays: 90 }
const { signal } = new AbortController()

/** @throws Error with the reason of the first failure. */
async function keepAll(of: Retention): Promise<void> {
  const { failed } = await keepRetention(of, signal)
  if (failed.length > 0) throw new Error(failed[0]!.reason)
}

const LLM = 'llm_cost_records_2026_06'
const MAY = 'llm_cost_records_2026_05'
const E2B = 'e2b_cost_records_2026_06'
const broken = async () => (await pool.query('select * from copilot_internal.check_integrity()')).rows
const rows = async (partition: string) =>
  (await pool.query<{ row: string }>(`select c::text as row from copilot_partitions.${partition} c order by 1`)).rows
const stateOf = async (partition: string) =>
  (await pool.query(`select state from copilot_internal.cost_archives where partition = $1`, [partition])).rows[0]
    ?.state
const isThere = async (partition: string) =>
  (await pool.query(`select to_regclass('copilot_partitions.' || $1) is not null as there`, [partition])).rows[0].there

// In June: holds and direct records, counted by two quotas, one of them without an end.
const june = openSession(t, database.url)
await june.moveTo('2026-06-10T00:00:00Z')
await setQuotas(june.db, [
  { scope: 'tenant', tenant_id: 'acme', period: 'total', limit_usd: '1000' },
  { scope: 'tenant', tenant_id: 'acme', period: 'month', limit_usd: '1000' },
])
await june.moveTo('2026-06-15T10:00:00Z')
// An id begins with the time at which it was made.
const madeAt = Date.parse('2026-06-15T10:00:00Z').toString(16).padStart(12, '0')
const idOf = (last: string) => `${madeAt.slice(0, 8)}-${madeAt.slice(8)}-7000-8000-00000000000${last}`
const held = hold('acme', '3', { idempotency_key: 'old', reservation_id: idOf('1') })
await june.reserve(held, hold('acme', '1', { reservation_id: idOf('2') }))
const committed = booking(held.reservation_id, '2.000000000001')
await june.commit(committed)
await june.record(
  spending('acme', '4', { labels: { odd: `"\\\n\u2028\u2029\r'日本` } }),
  spending('acme', '1', { resource_type: 'e2b' }),
)
await june.moveTo('2026-11-20T00:00:00Z')
await june.pool.query('select copilot_internal.expire_reservations()')
await june.record(spending('acme', '8'))
await insertCostLines(pool, [
  {
    tenant_id: 'acme',
    cost_usd: '0.5',
    occurred_at: '2026-06-30T23:59:00.000001Z',
    usage: '{"big": 12345678901234567890.5}',
  },
  { tenant_id: 'acme', cost_usd: '0.25', occurred_at: '2026-06-20T00:00:00Z', labels: { a: 'b' } },
])
const UNREAD = '{"reasons": [], "provider_usage": {"tokens": 12345678901234567890.5}}'
await pool.query(`update copilot_internal.llm_cost_records set unreadable_usage = $1 where labels = '{"a": "b"}'`, [
  UNREAD,
])

t.test('a dry run lists what would be archived and deleted, and changes nothing', async (t) => {
  const plan = await planRetention(retention)
  t.same(plan.archived, [
    { partition: E2B, records: 1 },
    { partition: LLM, records: 4 },
  ])
  t.equal(plan.deleted_settled, 1)
  t.notOk(await stateOf(LLM))
  t.same(await broken(), [])
})

t.test('archive, drop and restore keep every byte of each row, and every invariant holds at each step', async (t) => {
  const before = { llm: await rows(LLM), e2b: await rows(E2B) }
  const report = await keepRetention(retention, signal)
  t.match(report, {
    archived: [
      { partition: E2B, records: 1 },
      { partition: LLM, records: 4 },
    ],
    deleted_files: [],
  })
  t.notOk(await isThere(LLM))
  t.notOk(await isThere(E2B))
  t.same(await broken(), [])
  t.same(
    readdirSync(archiveDir).toSorted(),
    [E2B, LLM].flatMap((name) => [`${name}.jsonl.gz`, `${name}.manifest.json`]),
  )
  for (const name of ['', ...readdirSync(archiveDir)])
    t.equal(statSync(join(archiveDir, name)).mode & 0o077, 0, `only the owner can read ${name || 'the folder'}`)
  t.match(JSON.parse(readFileSync(join(archiveDir, `${LLM}.manifest.json`), 'utf8')), {
    partition: LLM,
    records: 4,
    cost_usd: '6.750000000001',
    content_sha256: /^[0-9a-f]{64}$/,
  })
  t.match(gunzipSync(readFileSync(join(archiveDir, `${LLM}.jsonl.gz`))).toString(), '12345678901234567890.5')
  t.equal(await restorePartition(retention, LLM, 7), 4)
  t.equal(await restorePartition(retention, E2B, 7), 1)
  t.same({ llm: await rows(LLM), e2b: await rows(E2B) }, before)
  t.same(
    (
      await pool.query(
        `select unreadable_usage::text as object from copilot_partitions.${LLM} where labels = '{"a": "b"}'`,
      )
    ).rows,
    [{ object: UNREAD }],
  )
  t.same(await broken(), [])
  t.same(
    (await keepRetention(retention, signal)).archived,
    [],
    'a restored month is not archived again before its time',
  )
  await t.rejects(
    pool.query(`delete from copilot_internal.llm_cost_records where recorded_at < '2026-07-01'`),
    /closed/,
  )
  await pool.query('update copilot_internal.cost_archives set keep_until = null')
  await pool.query(
    `insert into copilot_internal.record_keys values ('p', 'k', '', gen_random_uuid(), '2026-06-30T23:59:59Z', 't')`,
  )
  const keepsKeys = { ...retention, reservationDays: 3_650 }
  t.equal(
    (await keepRetention(keepsKeys, signal)).archived.length,
    2,
    'both months are archived again, and record keys as old are deleted',
  )
  t.same(await broken(), [])
})

t.test('totals of an archived month are still answered; only queries of its records get 409', async (t) => {
  const service = await startService(t, database.url)
  const { costs, get } = costsReader(service)
  const span = { from: '2026-06-01T00:00:00Z', to: '2026-07-01T00:00:00Z' }
  t.match((await costs({ ...span, group_by: 'tenant,model' })).total, { cost_usd: '7.750000000001', records: '5' })
  for (const query of [
    { ...span, group_by: 'user' },
    { ...span, from: '2026-06-15T10:00:00.5Z' },
  ]) {
    t.match(await get(query), { status: 409, json: { code: 'archived', months: ['2026-06'] } })
  }
  t.match(await service.call('GET', `/v1/costs/export?format=csv&from=${span.from}&to=${span.to}`), { status: 409 })
  t.equal((await get({ group_by: 'user', from: '2026-07-01T00:00:00Z' })).status, 200)
  const list = (query: string) => service.call('GET', `/v1/cost-records?${query}`)
  const archivedJune = { status: 409, json: { code: 'archived', months: ['2026-06'] } }
  t.match(await list(`from=${span.from}&to=${span.to}`), archivedJune)
  t.match(await list(`from=${span.from}&tenant_id=acme`), archivedJune)
  t.match(await list(`from=${span.from}`), archivedJune)
  t.match(await list('from=2026-07-01T00:00:00Z'), { status: 200 })
  t.match(
    await list(`to=${span.to}`),
    { status: 200 },
    'a list without `from` contains the records that are not archived',
  )
  const opened = await service.call('PUT', '/v1/quotas', {
    ...{ scope: 'platform', period: 'total', resource_type: 'llm', limit_usd: 100 },
  })
  t.equal(opened.status, 201)
  const status = await service.call('GET', '/v1/quotas/status?resource_type=llm')
  t.match(
    status.json.data.find((one: { scope: string }) => one.scope === 'platform'),
    { spent_usd: 14.750000000001 },
    'a new balance opens with archived costs included',
  )
  t.same(await broken(), [])
})

t.test('a record of an archived month can be corrected after a restore, and is itself unchanged', async (t) => {
  const service = await startService(t, database.url)
  const { costs } = costsReader(service)
  const june2026 = { from: '2026-06-01T00:00:00Z', to: '2026-07-01T00:00:00Z', group_by: 'tenant' }
  const correct = () =>
    service.call('POST', `/v1/cost-records/${committed.cost_record_id}/correct`, { cost_usd: 5, reason: 'test' })
  t.equal((await correct()).status, 404)
  t.equal(await restorePartition(retention, LLM, 1), 4)
  const before = await rows(LLM)
  t.equal((await correct()).status, 201)
  t.same(await rows(LLM), before)
  t.same(await broken(), [])
  t.match((await costs(june2026)).total, { cost_usd: '10.75', records: '7' })
  await pool.query('update copilot_internal.cost_archives set keep_until = null')
  t.same((await keepRetention(retention, signal)).archived, [{ partition: LLM, records: 4 }])
  t.match((await costs(june2026)).total, { cost_usd: '10.75', records: '7' })
  await pool.query('select copilot_internal.roll_up_tail(50000, 0)')
  t.match((await costs(june2026)).total, { cost_usd: '10.75', records: '7' })
  t.same(await broken(), [])
})

t.test(
  'a drop or a restore does not wait for balances: they follow in steps, and every invariant holds after each',
  async (t) => {
    /** Runs `work` while another session has locked every balance. */
    const whileBalancesAreTaken = async (work: () => Promise<unknown>) => {
      const other = await pool.connect()
      await other.query('begin')
      await other.query('select from copilot_internal.quota_periods for update')
      await t.rejects(work(), /lock timeout/, 'only the update of the balances waits')
      await other.query('rollback')
      other.release()
    }
    const { rows: named } = await pool.query<{ balances: number }>(
      `select count(*)::integer as balances from copilot_internal.archived_periods where partition = $1`,
      [LLM],
    )
    /** Asserts that the down migration leaves the books of the previous release, without half-done steps. */
    const canBeTakenBack = async () => {
      const client = await pool.connect()
      await client.query('begin')
      await client.query(readFileSync('migrations/0016_archives_in_steps.down.sql', 'utf8'))
      const { rows: wrong } = await client.query(`
      with records as (
        select total_cost_usd, quota_period_ids from copilot_internal.llm_cost_records
        union all select total_cost_usd, quota_period_ids from copilot_internal.e2b_cost_records)
      select p.* from copilot_internal.quota_periods p
      where p.spent <> p.opening_usd + p.archived_usd
        + (select coalesce(sum(r.total_cost_usd), 0) from records r where p.quota_period_id = any (r.quota_period_ids))`)
      await client.query('rollback')
      client.release()
      t.same(wrong, [])
    }
    const carriesInSteps = async () => {
      t.same(await broken(), [])
      let steps = 0
      for (; (await carryArchive(db, LLM, 1)) > 0; steps += 1) t.same(await broken(), [], `after step ${steps + 1}`)
      t.equal(steps, named[0]!.balances)
      t.same((await pool.query('select * from copilot_internal.uncarried_costs()')).rows, [])
      t.same(await broken(), [])
    }
    t.ok(named[0]!.balances > 1)
    await whileBalancesAreTaken(() => restorePartition(retention, LLM, 1))
    t.equal(await stateOf(LLM), 'restored')
    await canBeTakenBack()
    await carriesInSteps()
    await pool.query('update copilot_internal.cost_archives set keep_until = null')
    await whileBalancesAreTaken(() => keepAll(retention))
    t.equal(await stateOf(LLM), 'archived')
    t.notOk(await isThere(LLM))
    t.equal(await carryArchive(db, LLM, 1), 1)
    await canBeTakenBack()
    await keepRetention(retention, signal)
    t.same(
      (await pool.query('select * from copilot_internal.uncarried_costs()')).rows,
      [],
      'the next run carries the rest',
    )
    t.same(await broken(), [])
  },
)

t.test('a crash during an archive or a restore neither loses nor duplicates a record', async (t) => {
  // As after a crash while the rows were loaded.
  await pool.query(`select copilot_internal.prepare_restore('${E2B}')`)
  t.same(await broken(), [])
  t.equal(await restorePartition(retention, E2B, 1), 1)
  t.same(await broken(), [])
  // As after a crash when the month was closed but not dropped, with half a file left behind.
  await pool.query('update copilot_internal.cost_archives set keep_until = null')
  writeFileSync(join(archiveDir, `${E2B}.jsonl.gz.part`), 'half')
  const daysAgo = Date.now() / 1_000 - 2 * 86_400
  utimesSync(join(archiveDir, `${E2B}.jsonl.gz.part`), daysAgo, daysAgo)
  await pool.query(`select copilot_internal.close_cost_partition('${E2B}')`)
  t.same(await broken(), [])
  t.equal((await keepRetention(retention, signal)).archived.length, 1)
  t.same(
    readdirSync(archiveDir).filter((name) => name.endsWith('.part')),
    [],
    'the half file is deleted',
  )
  t.same(await broken(), [])
})

t.test('an archive or a restore may fail at any statement: the books hold, and the next run ends it', async (t) => {
  /** A connection that fails before its n-th statement, as in a crash. */
  const breakingAt = (n: number) => {
    let statements = 0
    return db.withPlugin({
      transformQuery: ({ node }) => {
        statements += 1
        if (statements === n) throw new Error('broken off')
        return node
      },
      transformResult: async ({ result }) => result,
    })
  }
  const all = async () => {
    const { rows: sums } = await pool.query(`
      select sum(records)::text as records, sum(cost_usd)::text as cost_usd from (
        select count(*) as records, sum(total_cost_usd) as cost_usd from copilot_internal.e2b_cost_records
        union all select records, cost_usd from copilot_internal.cost_archives where state = 'archived' and resource_type = 'e2b') s`)
    return sums[0]
  }
  const whole = await all()
  const untilDone = async (work: (broken: Retention) => Promise<unknown>) => {
    for (let n = 1; n < 100; n += 1) {
      try {
        await work({ ...retention, db: breakingAt(n) })
        return n
      } catch (error) {
        t.match(error, { message: 'broken off' })
      }
      t.same(await broken(), [], `before statement ${n}`)
      t.same(await all(), whole, `before statement ${n}`)
    }
    throw new Error('it never ends')
  }
  t.ok((await untilDone((breaking) => restorePartition(breaking, E2B, 1))) > 3)
  t.ok(await isThere(E2B))
  await pool.query('update copilot_internal.cost_archives set keep_until = null')
  t.ok((await untilDone(keepAll)) > 5)
  t.notOk(await isThere(E2B))
  t.same(await broken(), [])
  t.same(await all(), whole)
})

t.test('a drop that must wait for a reader gives up, so that others are not blocked, and is retried', async (t) => {
  t.equal(await restorePartition(retention, E2B, 1), 1)
  await pool.query('update copilot_internal.cost_archives set keep_until = null')
  const reader = await pool.connect()
  await reader.query('begin')
  await reader.query('select from copilot_internal.e2b_cost_records')
  const kept = keepRetention(retention, signal)
  const isWaiting = async () =>
    (
      await pool.query(
        `select from pg_locks where not granted and relation = 'copilot_internal.e2b_cost_records'::regclass`,
      )
    ).rowCount !== 0
  while (!(await isWaiting()));
  while (await isWaiting());
  t.ok(await isThere(E2B), 'the first try gave up')
  await reader.query('rollback')
  reader.release()
  t.same((await kept).archived, [{ partition: E2B, records: 1 }])
  t.same(await broken(), [])
})

t.test('a file that differs from the verified one is not restored', async (t) => {
  const file = join(archiveDir, `${E2B}.jsonl.gz`)
  const whole = readFileSync(file)
  writeFileSync(file, readFileSync(join(archiveDir, `${LLM}.jsonl.gz`)))
  await t.rejects(restorePartition(retention, E2B, 1), /hash/)
  writeFileSync(file, whole.subarray(0, whole.length - 9))
  await t.rejects(restorePartition(retention, E2B, 1))
  writeFileSync(file, whole)
  t.notOk(await isThere(E2B))
  t.equal(await restorePartition(retention, E2B, 1), 1)
})

t.test('a run that reads a month while another run drops it does not change its file', async (t) => {
  await pool.query('update copilot_internal.cost_archives set keep_until = null')
  const other = connect(database.url, { connectionsMax: 1, statementMs: 60_000, roles })
  t.teardown(() => other.destroy())
  let dropped: unknown = null
  const slow = db.withPlugin({
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      // At this moment the slow run knows the month but has not read its records.
      if (dropped === null && result.rows.some((row) => row['state'] !== undefined)) {
        dropped = (await keepRetention({ ...retention, db: other }, signal)).archived
      }
      return result
    },
  })
  await t.rejects(keepAll({ ...retention, db: slow }), /has 0 records/)
  t.same(dropped, [{ partition: E2B, records: 1 }])
  t.same(
    readdirSync(archiveDir).filter((name) => name.startsWith(E2B) && name.includes('-')),
    [],
    'the slow run leaves no file behind',
  )
  t.equal(await restorePartition(retention, E2B, 1), 1)
  t.same(await broken(), [])
})

t.test('the clean-up functions of the first system drop only months with a verified archive', async (t) => {
  const cleanUp = async () =>
    (
      await pool.query(
        `select copilot_internal.cleanup_old_cost_records() as e2b, copilot_internal.cleanup_old_llm_cost_records() as llm`,
      )
    ).rows[0]
  t.same(await cleanUp(), { e2b: '0', llm: '0' })
  await pool.query(`update copilot_internal.cost_archives set state = 'verified' where partition = '${E2B}'`)
  await pool.query(
    `insert into copilot_internal.record_keys values ('p', 'k', '', gen_random_uuid(), '2026-06-30T23:59:59Z', 't')`,
  )
  await t.rejects(cleanUp(), /keys of records are as old/)
  await pool.query('select copilot_internal.delete_record_keys($1, 10)', ['2026-07-01T00:00:00Z'])
  t.same(await cleanUp(), { e2b: '1', llm: '0' })
  t.same(await cleanUp(), { e2b: '0', llm: '0' })
  t.same(await broken(), [])
})

t.test('archive files are deleted after archiveYears, and the totals stay', async (t) => {
  const report = await keepRetention({ ...retention, archiveYears: 0 }, signal)
  t.same(report.deleted_files, [E2B, LLM])
  t.same(readdirSync(archiveDir), [])
  t.same(await broken(), [])
})

t.test('an id from the future does not delay retention, and a month that fails does not stop the others', async (t) => {
  const later = await createDatabase(t)
  const laterDb = connect(later.url, { connectionsMax: 1, statementMs: 60_000, roles })
  t.teardown(() => laterDb.destroy())
  const of: Retention = { ...retention, db: laterDb, archiveDir: join(t.testdir(), 'archive') }
  const session = openSession(t, later.url)
  const months: [string, string][] = [
    ['2026-05-15T10:00:00Z', '1'],
    ['2026-06-15T10:00:00Z', '2'],
  ]
  const holds = await Promise.all(
    // Ids from a process whose clock was ten years ahead.
    months.map(async ([at]) => {
      const { rows: made } = await later.pool.query<{ id: string }>(
        `select copilot_internal.uuid_v7($1::timestamptz + interval '10 years') as id`,
        [at],
      )
      return hold('acme', '1', { reservation_id: made[0]!.id })
    }),
  )
  for (const [n, [at, cost]] of months.entries()) {
    await session.moveTo(at)
    await session.reserve(holds[n]!)
    await session.commit(booking(holds[n]!.reservation_id, cost))
  }
  await session.moveTo('2026-11-20T00:00:00Z')
  // A folder is in the place of the file of May.
  mkdirSync(join(of.archiveDir, `${MAY}.jsonl.gz`), { recursive: true })
  const first = await keepRetention(of, signal)
  t.match(first, { deleted_settled: 2, failed: [{ what: MAY }] })
  t.match(first.archived.at(-1), { partition: LLM, records: 1 })
  rmdirSync(join(of.archiveDir, `${MAY}.jsonl.gz`))
  t.match(await keepRetention(of, signal), { archived: [{ partition: MAY, records: 1 }], failed: [] })
  t.same((await later.pool.query('select * from copilot_internal.check_integrity()')).rows, [])
})

t.test('old events are deleted once delivered, unless they prevent a second event about an open balance', async (t) => {
  const endpointId = '00000000-0000-4000-8000-00000000000e'
  await pool.query(
    `insert into copilot_internal.webhook_endpoints (endpoint_id, kind, url, types, enabled, created_at, updated_at)
     values ($1, 'webhook', 'https://hooks.example.com', '{}', true, '2026-06-01', '2026-06-01')`,
    [endpointId],
  )
  await pool.query(`
    insert into copilot_internal.quota_events (event_id, type, created_at, quota_period_id, once_key, data)
    select copilot_internal.uuid_v7(e.at), e.type, e.at, p.quota_period_id, e.key, '{}'
    from (values ('price.missing', timestamptz '2026-06-10 00:00Z', 'told'), ('price.missing', '2026-06-11', 'pending'),
                 ('quota.warning', '2026-06-12', 'of a balance that runs'), ('price.missing', '2026-11-19', 'young')) e(type, at, key)
    left join copilot_internal.quota_periods p on e.type = 'quota.warning' and p.closed_at is null and p.ends_at > '9999-01-01'
      and p.quota_period_id = (select max(quota_period_id) from copilot_internal.quota_periods where ends_at > '9999-01-01')`)
  const left = async () => {
    const { rows } = await pool.query<{ key: string }>(
      `select once_key as key from copilot_internal.quota_events where once_key ~ '^[a-z ]+$' order by event_id`,
    )
    return rows.map(({ key }) => key)
  }
  t.equal((await planRetention(retention)).deleted_events, 0, 'no event is deleted before its deliveries are queued')
  await fanOutEvents(db, 200)
  await pool.query(`
    update copilot_internal.webhook_deliveries d set status = 'delivered', next_attempt_at = null, settled_at = '2026-06-10'
    from copilot_internal.quota_events e where e.event_id = d.event_id and e.once_key <> 'pending'`)
  t.equal((await planRetention(retention)).deleted_events, 1)
  t.equal((await left()).length, 4)
  t.equal((await keepRetention(retention, signal)).deleted_events, 1)
  t.same(await left(), ['pending', 'of a balance that runs', 'young'])
  t.same(await broken(), [])
})

t.test('the query for deletable events does not compare each event with every delivery', async (t) => {
  const { rows: functions } = await pool.query(`select prosrc from pg_proc where proname = 'deletable_events'`)
  const text = `explain ${functions[0].prosrc.replaceAll('p_before', 'now()').replaceAll('p_now', 'now()')}`
  const plan = await pool.query({ text, rowMode: 'array' })
  t.notMatch(plan.rows.join('\n'), 'SubPlan')
})
