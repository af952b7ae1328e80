import { sql, type Kysely } from 'kysely'
import { jobSchemaName } from '../pool/job-queue.ts'

/** The schema of the product's tables and functions. */
export const schemaName = 'copilot_internal'
/** The schema of the partitions. They have their own, so that the product's schema lists whole tables only. */
export const partitionsSchemaName = 'copilot_partitions'

/** The tables of Kysely's Migrator: one records which numbered migrations ran, the other is its lock. */
export const migrationTable = 'schema_migrations'
export const migrationLockTable = 'schema_migrations_lock'

/** A table, view, sequence, function or type, as Postgres identifies it. */
export interface SchemaObject {
  kind: string
  identity: string
}

/** Creates the product's schemas and the migration runner's own tables, unless they exist. */
export async function ensureBookkeeping(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
    do $$
    begin
      -- Even "create schema if not exists" needs a right on the database, which the role may not have.
      if to_regnamespace('${schemaName}') is null then create schema ${schemaName}; end if;
      if to_regnamespace('${partitionsSchemaName}') is null then create schema ${partitionsSchemaName}; end if;
    end
    $$;
    create table if not exists ${schemaName}.schema_functions (
      file text primary key,
      sha256 text not null
    );
    comment on table ${schemaName}.schema_functions is 'The function files as they were last applied.';
    create table if not exists ${schemaName}.schema_objects (
      kind text not null,
      identity text not null,
      from_function_file boolean not null,
      primary key (kind, identity)
    );
    comment on table ${schemaName}.schema_objects is
      'What the migrations made; anything else in the schemas is foreign, and no migration touches it.';
  `)
    .execute(db)
}

/** Adds comments to the tables that Kysely's Migrator created. */
export async function describeMigratorTables(db: Kysely<unknown>): Promise<void> {
  const comments = {
    [migrationTable]: 'The numbered migrations that ran, and when.',
    [migrationLockTable]: 'Needed by the migration runner; what locks is an advisory lock.',
  }
  for (const [table, comment] of Object.entries(comments)) {
    await sql`comment on table ${sql.table(`${schemaName}.${table}`)} is ${sql.lit(comment)}`.execute(db)
  }
}

/** Whether this runner has migrated the database before: then it has the runner's tables, and they can be trusted. */
export async function hasBookkeeping(db: Kysely<unknown>): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select to_regclass(${`${schemaName}.schema_objects`}) is not null
       and to_regclass(${`${schemaName}.${migrationTable}`}) is not null as found`.execute(db)
  return rows[0]!.found
}

/**
 * Lists the objects in the schemas, in a stable order. Leaves out what belongs to another object (indexes, owned sequences, row
 * types, members of an extension), and partitions, because jobs create, detach and drop those.
 */
export async function listObjects(db: Kysely<unknown>): Promise<SchemaObject[]> {
  const { rows } = await sql<SchemaObject>`
    with candidates as (
      select 'pg_class'::regclass as classid, c.oid, c.relnamespace as namespace
        from pg_class c
       where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
         and not (c.relnamespace = to_regnamespace(${partitionsSchemaName}) and (
               c.relispartition
               -- A detached partition keeps its name, which begins with the name of its table.
               or exists (select from pg_class parent
                           where parent.relkind = 'p' and parent.relnamespace = to_regnamespace(${schemaName})
                             and starts_with(c.relname, parent.relname || '_'))))
      union all
      select 'pg_proc'::regclass, p.oid, p.pronamespace from pg_proc p
      union all
      select 'pg_type'::regclass, t.oid, t.typnamespace
        from pg_type t left join pg_class c on c.oid = t.typrelid
       where t.typtype in ('d', 'e', 'r') or c.relkind = 'c'
    )
    select identified.type as kind, identified.identity
      from candidates o, pg_identify_object(o.classid, o.oid, 0) identified
     where o.namespace in (
             to_regnamespace(${schemaName}), to_regnamespace(${partitionsSchemaName}), to_regnamespace(${jobSchemaName}))
       and not exists (
             select from pg_depend d
              where d.classid = o.classid and d.objid = o.oid and d.objsubid = 0
                and (d.deptype in ('e', 'i') or (d.deptype = 'a' and identified.type = 'sequence')))
     order by kind, identity`.execute(db)
  return rows
}

/** Lists the objects in the schemas that these migrations did not create. Without bookkeeping these are all objects. */
export async function listForeignObjects(db: Kysely<unknown>): Promise<SchemaObject[]> {
  const objects = await listObjects(db)
  if (!(await hasBookkeeping(db))) return objects
  const ours = new Set((await readRecordedObjects(db)).map(nameObject))
  return objects.filter((object) => !ours.has(nameObject(object)))
}

/**
 * Records what the migrations created: every object in the schemas now, except `foreign`.
 * @param madeByFunctionFiles the functions that exist only because a function file created them.
 */
export async function recordObjects(
  db: Kysely<unknown>,
  foreign: SchemaObject[],
  madeByFunctionFiles: SchemaObject[],
): Promise<void> {
  const notOurs = new Set(foreign.map(nameObject))
  const fromFile = new Set(madeByFunctionFiles.map(nameObject))
  const ours = (await listObjects(db))
    .filter((object) => !notOurs.has(nameObject(object)))
    .map((object) => ({ ...object, from_function_file: fromFile.has(nameObject(object)) }))
  await sql`delete from ${sql.table(`${schemaName}.schema_objects`)}`.execute(db)
  await sql`
    insert into ${sql.table(`${schemaName}.schema_objects`)} (kind, identity, from_function_file)
    select kind, identity, from_function_file
      from jsonb_to_recordset(${JSON.stringify(ours)}::jsonb) as o (kind text, identity text, from_function_file boolean)
  `.execute(db)
}

/** The functions that existed only because of a function file when the objects were last recorded. */
export async function readFunctionsFromFiles(db: Kysely<unknown>): Promise<SchemaObject[]> {
  return (await readRecordedObjects(db)).filter((object) => object.from_function_file)
}

/**
 * Drops the runner's tables, the job queue and the schemas.
 * @throws Error that lists what the down files left behind. A schema with an object in it is never dropped.
 */
export async function removeBookkeeping(db: Kysely<unknown>): Promise<void> {
  await sql.raw(`drop schema if exists ${jobSchemaName} cascade`).execute(db)
  for (const table of [migrationTable, migrationLockTable, 'schema_functions', 'schema_objects']) {
    await sql`drop table ${sql.table(`${schemaName}.${table}`)}`.execute(db)
  }
  const left = await listObjects(db)
  if (left.length > 0) throw new Error(`The last down migration left behind: ${left.map(nameObject).join(', ')}`)
  await sql.raw(`drop schema if exists ${partitionsSchemaName}; drop schema ${schemaName}`).execute(db)
}

/** "table copilot_internal.cost_quotas" */
export function nameObject({ kind, identity }: SchemaObject): string {
  return `${kind} ${identity}`
}

async function readRecordedObjects(db: Kysely<unknown>): Promise<(SchemaObject & { from_function_file: boolean })[]> {
  const { rows } = await sql<SchemaObject & { from_function_file: boolean }>`
    select kind, identity, from_function_file from ${sql.table(`${schemaName}.schema_objects`)}`.execute(db)
  return rows
}
