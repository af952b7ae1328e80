import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { migrateUp } from '../../src/db/migrate/migrations.ts'
import { createDatabase } from '../helpers/database.ts'

const folder = join(import.meta.dirname, '..', '..', 'migrations', 'functions')
const files = globSync('**/*.sql', { cwd: folder }).toSorted()
const read = (file: string) => readFileSync(join(folder, file), 'utf8')
const nameOf = (file: string) => file.replace(/^.*\/|\.sql$/g, '')
const PLANNER_SETTING = /\b(enable_\w+|plan_cache_mode)\b/

/** An argument that is a table's row may have a one-letter name, because renaming it needs a numbered migration. */
const ROW_ARGUMENTS = ['default_snapshot', 'quota_json', 'quota_snapshot', 'reservation_json']

t.test('each function file begins with its name and purpose, and has the common layout', async (t) => {
  for (const file of files) {
    const text = read(file)
    const name = nameOf(file)
    t.ok(text.startsWith(`-- ${name}: `), `${file} says what it does`)
    const made = text.match(/^create or replace function /gm)!.length
    const attributes =
      /^language (sql|plpgsql) (immutable|stable|volatile)( strict)?( parallel safe)?( security definer)?( rows \d+)?$/gm
    t.equal(text.match(attributes)?.length, made, `${file} states language and volatility on one line`)
    t.equal(text.match(/^(end )?\$\$;$|^as \$\$ .* \$\$;$/gm)?.length, made, `${file} ends its bodies alike`)
    t.equal(text.match(/^comment on function .* is '.*';$/gm)?.length, made, `${file} comments on each function`)
    t.notMatch(
      text.replace(/--.*|'[^']*'/g, ''),
      /\b(SELECT|INSERT|UPDATE|FROM|WHERE|BEGIN|END)\b/,
      `${file} is lower case`,
    )
    if (name !== 'pin_plans') t.notMatch(text, PLANNER_SETTING, `${file} leaves planner settings to pin_plans()`)
  }
})

t.test('names of arguments begin with p_, and those of locals with v_', async (t) => {
  const { pool } = await createDatabase(t)
  const { rows } = await pool.query<{ name: string; argument: string }>(`
    select p.proname as name, a.argument
    from pg_proc p
    join pg_language l on l.oid = p.prolang and l.lanname in ('sql', 'plpgsql')
    cross join lateral unnest(p.proargnames[1:p.pronargs]) with ordinality a(argument, n)
    where p.pronamespace = 'copilot_internal'::regnamespace and (p.proargmodes is null or p.proargmodes[a.n] = 'i')`)
  t.ok(rows.length > 100)
  for (const { name, argument } of rows) {
    if (!ROW_ARGUMENTS.includes(name)) t.match(argument, /^p_/, `${name}(${argument})`)
  }
  for (const file of files) {
    for (const [, locals] of read(file).matchAll(/^declare\n([^]*?)^begin$/gm)) {
      for (const [, local] of locals!.matchAll(/^ {2}([a-z_]+) .*;$/gm)) t.match(local!, /^v_/, `${file}: ${local}`)
    }
  }
})

t.test('pin_plans() sets the planner settings, also of a function that was replaced by hand', async (t) => {
  const { pool, url } = await createDatabase(t)
  const pinned = async () =>
    (
      await pool.query<{ name: string; settings: string }>(`
        select p.proname as name, array_to_string(array(select c from unnest(p.proconfig) c order by c), ' ') as settings
        from pg_proc p where p.pronamespace = 'copilot_internal'::regnamespace and array_to_string(p.proconfig, ' ') ~ 'enable_|plan_cache_mode'
        order by 1`)
    ).rows
  const before = await pinned()
  const locking = before.find(({ name }) => name === 'change_balances')
  t.match(locking?.settings, /enable_hashjoin=off enable_material=off enable_mergejoin=off enable_seqscan=off/)
  t.equal(before.length, 19)

  const file = files.find((one) => nameOf(one) === 'change_balances')!
  await pool.query(read(file))
  t.equal((await pinned()).length, 18, 'create or replace resets them')
  await migrateUp(url, () => {})
  t.same(await pinned(), before)
  t.same((await pool.query('select copilot_internal.pin_plans()')).rows, [], 'a second call changes nothing')
})
