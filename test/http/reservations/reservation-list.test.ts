import t from 'tap'
import { uuidv7 } from 'uuidv7'
import { listReservations } from '../../../src/db/reservations/reservations.ts'
import { createDatabase } from '../../helpers/database.ts'
import { setNow } from '../../helpers/fake-clock.ts'
import { assertHealthy } from '../../helpers/money/integrity.ts'
import { startService, type Answer } from '../../helpers/servers/service.ts'
import { openSession } from '../../helpers/money/spend.ts'

const database = await createDatabase(t)
const service = await startService(t, database.url)
const caller = await service.keyFor('service')

type Listed = { reservation_id: string; status: string; tenant_id: string }

const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  service.call(method, path, body, { ...caller, ...headers })
const list = (query: Record<string, string>, headers: Record<string, string> = {}) =>
  call('GET', `/v1/reservations?${new URLSearchParams(query).toString()}`, undefined, headers)
const idOf = ({ json }: Answer): string => json.reservation_id
const idsOf = ({ json }: Answer): string[] => json.data.map((one: Listed) => one.reservation_id)

/** All pages, each of `limit`, and how many there were. */
async function walk(query: Record<string, string>, limit: number): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = []
  let pages = 0
  for (let cursor: string | null = ''; cursor !== null;) {
    const page = await list({ ...query, limit: String(limit), ...(cursor === '' ? {} : { cursor }) })
    ids.push(...idsOf(page))
    pages += 1
    cursor = page.json.next_cursor
  }
  return { ids, pages }
}

t.test('each filter selects its reservations, and the list shows them as a single read does', async (t) => {
  const llm = { provider: 'openai', model: 'gpt-6.1-sol', input_tokens: 10, max_output_tokens: 10 }
  const chat = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'a',
    user_id: 'u-1',
    conversation_id: 'c-1',
    path_id: 'p-1',
    labels: { feature: 'chat', team: 'x' },
    llm,
  })
  const box = await call('POST', '/v1/reservations', {
    resource_type: 'e2b',
    tenant_id: 'a',
    user_id: 'u-2',
    e2b: { tier: 'medium', max_seconds: 10 },
  })
  const own = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'b',
    conversation_id: 'c-1',
    estimated_cost_usd: 1,
  })
  const committed = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'b',
    estimated_cost_usd: 1,
  })
  await call('POST', `/v1/reservations/${idOf(committed)}/commit`, { actual_cost_usd: 0.5 })
  const released = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'b',
    estimated_cost_usd: 1,
  })
  await call('POST', `/v1/reservations/${idOf(released)}/release`, {})

  const cases: [Record<string, string>, Answer[]][] = [
    [{}, [released, committed, own, box, chat]],
    [{ tenant_id: 'a' }, [box, chat]],
    [{ user_id: 'u-2' }, [box]],
    [{ conversation_id: 'c-1' }, [own, chat]],
    [{ conversation_id: 'c-1', tenant_id: 'a' }, [chat]],
    [{ path_id: 'p-1' }, [chat]],
    [{ resource_type: 'e2b' }, [box]],
    [{ provider: 'openai' }, [chat]],
    [{ model: 'gpt-6.1-sol' }, [chat]],
    [{ tier: 'medium' }, [box]],
    [{ status: 'reserved' }, [own, box, chat]],
    [{ status: 'committed' }, [committed]],
    [{ status: 'released' }, [released]],
    [{ status: 'expired' }, []],
    [{ 'label.feature': 'chat' }, [chat]],
    [{ 'label.feature': 'chat', 'label.team': 'y' }, []],
    [{ tenant_id: 'nobody' }, []],
  ]
  for (const [query, found] of cases) {
    const answer = await list(query)
    t.match(answer, { status: 200, json: { next_cursor: null } })
    t.same(idsOf(answer), found.map(idOf), JSON.stringify(query))
  }
  for (const one of (await list({})).json.data as Listed[]) {
    t.same(one, (await call('GET', `/v1/reservations/${one.reservation_id}`)).json)
  }
  t.equal((await list({ status: 'committed' })).json.data[0].cost_record_ids.length, 1)
})

t.test('pages stay complete while new reservations arrive', async (t) => {
  const reserve = () =>
    call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: 'paged', estimated_cost_usd: 0.01 })
  const made: string[] = []
  for (let n = 0; n < 7; n++) made.unshift(idOf(await reserve()))
  t.same(await walk({ tenant_id: 'paged' }, 3), { ids: made, pages: 3 })
  t.same(await walk({ tenant_id: 'paged' }, 7), { ids: made, pages: 1 }, 'a full last page has no cursor')

  const first = await list({ tenant_id: 'paged', limit: '2' })
  await reserve()
  await call('POST', `/v1/reservations/${made[3]}/commit`, { actual_cost_usd: 0.01 })
  const second = await list({ tenant_id: 'paged', limit: '5', cursor: first.json.next_cursor })
  t.same([...idsOf(first), ...idsOf(second)], made)
  t.equal(second.json.next_cursor, null)
})

t.test('a page scans a bounded number of rows, and the next page continues there', async (t) => {
  const rare = await call('POST', '/v1/reservations', {
    resource_type: 'llm',
    tenant_id: 'rare',
    estimated_cost_usd: 0.01,
  })
  for (let n = 0; n < 5; n++) {
    await call('POST', '/v1/reservations', { resource_type: 'llm', tenant_id: 'many', estimated_cost_usd: 0.01 })
  }
  const { db } = openSession(t, database.url)
  const pages: string[][] = []
  let after: string | null = null
  do {
    const found = await listReservations(db, { equal: { tenant_id: 'rare' }, labels: {} }, after, 10, 2)
    pages.push(found.reservations.map((one) => one.reservation_id))
    after = found.readUntil
  } while (after !== null)
  t.same(pages[0], [])
  t.same(pages.flat(), [idOf(rare)])
})

t.test('a tenant’s cursor never contains the id of another tenant’s reservation', async (t) => {
  const { db } = openSession(t, database.url)
  const stored = async (tenants: string) => {
    const { rows } = await database.pool.query<{ id: string }>(
      `select reservation_id as id from copilot_internal.reservations where ${tenants} order by 1 desc`,
    )
    return rows.map(({ id }) => id)
  }
  // All in one millisecond, so that a page ends between them.
  const begin = uuidv7().slice(0, 13)
  const copies = ['many', 'rare', 'many', 'rare', 'many'].map((tenant, n) => ({
    tenant,
    id: `${begin}-7000-8000-00000000000${n}`,
  }))
  for (const { tenant, id } of copies) {
    await database.pool.query(
      `insert into copilot_internal.reservations
       select (jsonb_populate_record(r, jsonb_build_object('reservation_id', $1::text, 'status', 'released',
         'settled_at', r.created_at, 'quota_period_ids', '[]'::jsonb, 'idempotency_key', null))).*
       from copilot_internal.reservations r where r.tenant_id = $2 limit 1`,
      [id, tenant],
    )
  }
  t.teardown(() =>
    database.pool.query(`delete from copilot_internal.reservations where reservation_id = any($1)`, [
      copies.map(({ id }) => id),
    ]),
  )
  const others = new Set(await stored("tenant_id <> 'rare'"))
  for (const max of [1, 2, 3, 4]) {
    const found: string[] = []
    for (let after: string | null = null; ;) {
      const page = await listReservations(db, { equal: { tenant_id: 'rare' }, labels: {} }, after, 10, max)
      found.push(...page.reservations.map((one) => one.reservation_id))
      after = page.readUntil
      if (after === null) break
      t.notOk(others.has(after), after)
    }
    t.same(found, await stored("tenant_id = 'rare'"), `each reservation once, ${max} rows at a time`)
  }
})

t.test('from and to bound created_at', async (t) => {
  t.teardown(() => setNow(database, null))
  const ids: string[] = []
  for (const day of ['2027-03-09', '2027-03-10', '2027-03-11']) {
    await setNow(database, `${day}T12:00:00Z`)
    ids.unshift(
      idOf(
        await call('POST', '/v1/reservations', {
          resource_type: 'llm',
          tenant_id: 'days',
          estimated_cost_usd: 1,
          ttl_seconds: 90_000,
        }),
      ),
    )
  }
  const within = async (query: Record<string, string>) => idsOf(await list({ tenant_id: 'days', ...query }))
  t.same(await within({ from: '2027-03-10T12:00:00Z' }), ids.slice(0, 2), 'inclusive')
  t.same(await within({ to: '2027-03-10T12:00:00Z' }), ids.slice(2), 'exclusive')
  t.same(await within({ from: '2027-03-10T00:00:00+02:00', to: '2027-03-11T00:00:00Z' }), ids.slice(1, 2))
  t.match(await list({ from: '2027-03-11T00:00:00Z', to: '2027-03-10T00:00:00Z' }), {
    status: 400,
    json: { errors: [{ pointer: 'from' }] },
  })
})

t.test('a bound key lists only its tenant’s reservations', async (t) => {
  const bound = await service.keyFor('viewer', 'a')
  const seen = await list({}, bound)
  t.same([...new Set(seen.json.data.map((one: Listed) => one.tenant_id))], ['a'])
  t.same(idsOf(seen), idsOf(await list({ tenant_id: 'a' })))
  t.same(idsOf(await list({ tenant_id: 'a' }, bound)), idsOf(seen))
  t.match(await list({ tenant_id: 'b' }, bound), { status: 403, json: { code: 'forbidden' } })
  // A cursor of another list is only a position and reveals nothing.
  const cursor = (await list({ limit: '1' })).json.next_cursor
  t.ok((await list({ cursor }, bound)).json.data.every((one: Listed) => one.tenant_id === 'a'))
})

t.test('unknown filters are refused', async (t) => {
  const wrong: [Record<string, string>, string][] = [
    [{ status: 'open' }, 'status'],
    [{ limit: '0' }, 'limit'],
    [{ limit: '1001' }, 'limit'],
    [{ colour: 'red' }, 'colour'],
    [{ from: 'yesterday' }, 'from'],
    [{ cursor: 'x' }, 'cursor'],
    [{ cursor: Buffer.from(JSON.stringify(uuidv7().toUpperCase())).toString('base64url') }, 'cursor'],
    [{ cursor: Buffer.from('{"reservation_id":1}').toString('base64url') }, 'cursor'],
  ]
  for (const [query, pointer] of wrong) {
    t.match(await list(query), { status: 400, json: { errors: [{ pointer }] } }, JSON.stringify(query))
  }
})

t.test('every invariant holds', (t) => assertHealthy(t, database.pool))
