import { sql, type Kysely } from 'kysely'
import { jobSchemaName } from '../pool/job-queue.ts'

/** The schema of the product's tables and functions. */
export const schemaName = 'copilot_internal'
/** The schema of the partitions, so that queries over the first one list tables only. */
export const partitionsSchemaName = 'copilot_partitions'

/** The tables of Kysely's Migrator: which numbered migrations ran, and its lock. */
export const migrationTable = 'schema_migrations'
export const migrationLockTable = 'schema_migrations_lock'

/** A table, view, sequence, function or type, as Postgres identifies it. */
export interface SchemaObject {
  kind: string
  identity: string
}

/** Makes the product's schemas and the runner's own tables unless they exist. */
export async function ensureBookkeeping(db: Kysely<unknown>): Promise<void> {
  await sql
    .raw(`
    do $$
    begin
      -- Even with "if not exists", making a schema asks for a right on the database that the role may not have.
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

/** Says in the database what the tables are for that Kysely's Migrator made. */
export async function describeMigratorTables(db: Kysely<unknown>): Promise<void> {
  const comments = {
    [migrationTable]: 'The numbered migrations that ran, and when.',
    [migrationLockTable]: 'Needed by the migration runner; what locks is an advisory lock.',
  }
  for (const [table, comment] of Object.entries(comments)) {
    await sql`comment on table ${sql.table(`${schemaName}.${table}`)} is ${sql.lit(comment)}`.execute(db)
  }
}

/** Whether the runner has been here: it made its tables, and their contents can be trusted. */
export async function hasBookkeeping(db: Kysely<unknown>): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select to_regclass(${`${schemaName}.schema_objects`}) is not null
       and to_regclass(${`${schemaName}.${migrationTable}`}) is not null as found`.execute(db)
  return rows[0]!.found
}

/**
 * What stands in the schemas, in a stable order, but for what comes and goes with something else (indexes,
 * owned sequences, row types, members of an extension) and for partitions: jobs make, detach and drop those.
 */
export async function listObjects(db: Kysely<unknown>): Promise<SchemaObject[]> {
  const { rows } = await sql<SchemaObject>`
    with candidates as (
      select 'pg_class'::regclass as classid, c.oid, c.relnamespace as namespace
        from pg_class c
       where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
         and not (c.relnamespace = to_regnamespace(${partitionsSchemaName}) and (
               c.relispartition
               -- A detached partition keeps the name that begins with its table's.
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

/** What stands in the schemas and was not made by these migrations: everything, where the runner has not been. */
export async function listForeignObjects(db: Kysely<unknown>): Promise<SchemaObject[]> {
  const objects = await listObjects(db)
  if (!(await hasBookkeeping(db))) return objects
  const ours = new Set((await readRecordedObjects(db)).map(objectText))
  return objects.filter((object) => !ours.has(objectText(object)))
}

/**
 * Records what the migrations made: all that stands there now but `foreign`.
 * @param madeByFunctionFiles the functions that exist only because a function file made them.
 */
export async function recordObjects(
  db: Kysely<unknown>,
  foreign: SchemaObject[],
  madeByFunctionFiles: SchemaObject[],
): Promise<void> {
  const notOurs = new Set(foreign.map(objectText))
  const fromFile = new Set(madeByFunctionFiles.map(objectText))
  const ours = (await listObjects(db))
    .filter((object) => !notOurs.has(objectText(object)))
    .map((object) => ({ ...object, from_function_file: fromFile.has(objectText(object)) }))
  await sql`delete from ${sql.table(`${schemaName}.schema_objects`)}`.execute(db)
  await sql`
    insert into ${sql.table(`${schemaName}.schema_objects`)} (kind, identity, from_function_file)
    select kind, identity, from_function_file
      from jsonb_to_recordset(${JSON.stringify(ours)}::jsonb) as o (kind text, identity text, from_function_file boolean)
  `.execute(db)
}

/** The functions that, when they were last recorded, existed only because a function file made them. */
export async function readFunctionsFromFiles(db: Kysely<unknown>): Promise<SchemaObject[]> {
  return (await readRecordedObjects(db)).filter((object) => object.from_function_file)
}

/**
 * Removes the runner's tables and the schemas, the job queue with them.
 * @throws Error that lists what the down files left behind; the schemas are never dropped with anything in them.
 */
export async function removeBookkeeping(db: Kysely<unknown>): Promise<void> {
  await sql.raw(`drop schema if exists ${jobSchemaName} cascade`).execute(db)
  for (const table of [migrationTable, migrationLockTable, 'schema_functions', 'schema_objects']) {
    await sql`drop table ${sql.table(`${schemaName}.${table}`)}`.execute(db)
  }
  const left = await listObjects(db)
  if (left.length > 0)
    throw new Error(`After the last down migration there is still: ${left.map(objectText).join(', ')}`)
  await sql.raw(`drop schema if exists ${partitionsSchemaName}; drop schema ${schemaName}`).execute(db)
}

/** "table copilot_internal.cost_quotas" */
export function objectText({ kind, identity }: SchemaObject): string {
  return `${kind} ${identity}`
}

async function readRecordedObjects(db: Kysely<unknown>): Promise<(SchemaObject & { from_function_file: boolean })[]> {
  const { rows } = await sql<SchemaObject & { from_function_file: boolean }>`
    select kind, identity, from_function_file from ${sql.table(`${schemaName}.schema_objects`)}`.execute(db)
  return rows
}
