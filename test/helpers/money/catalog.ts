import type pg from 'pg'

/**
 * Everything in the product's schemas, as text in a stable order: columns, constraints, indexes, functions with
 * their bodies, triggers, views, types, comments, rights. Two databases that print the same have the same schema.
 */
export async function describeCatalog(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ line: string }>(`
    with ours as (select oid from pg_namespace where nspname in ('copilot_internal', 'copilot_partitions', 'copilot_jobs'))
    select 'schema ' || nspname || coalesce(' ' || nspacl::text, '') as line
      from pg_namespace where oid in (select oid from ours)
    union all
    select 'relation ' || c.oid::regclass || ' ' || c.relkind::text || coalesce(' ' || c.reloptions::text, '')
           || coalesce(' ' || c.relacl::text, '') || ' ' || coalesce(obj_description(c.oid, 'pg_class'), '')
           || case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) else '' end
      from pg_class c where c.relnamespace in (select oid from ours)
    union all
    select 'column ' || a.attrelid::regclass || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || case when a.attnotnull then ' not null' else '' end || a.attidentity::text || a.attgenerated::text
           || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
      from pg_attribute a
      join pg_class c on c.oid = a.attrelid
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where c.relnamespace in (select oid from ours) and a.attnum > 0 and not a.attisdropped
    union all
    select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
      from pg_constraint where connamespace in (select oid from ours) and conrelid <> 0
    union all
    select pg_get_indexdef(i.indexrelid)
      from pg_index i join pg_class c on c.oid = i.indexrelid where c.relnamespace in (select oid from ours)
    union all
    select pg_get_functiondef(p.oid) || coalesce(' ' || p.proacl::text, '')
      from pg_proc p where p.pronamespace in (select oid from ours) and p.prokind in ('f', 'p')
    union all
    select pg_get_triggerdef(t.oid)
      from pg_trigger t join pg_class c on c.oid = t.tgrelid
     where c.relnamespace in (select oid from ours) and not t.tgisinternal
    union all
    select 'enum ' || e.enumtypid::regtype || ' ' || e.enumlabel
      from pg_enum e join pg_type t on t.oid = e.enumtypid where t.typnamespace in (select oid from ours)
    order by 1`)
  return rows.map((row) => row.line)
}
