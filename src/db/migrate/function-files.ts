import { sql, type Kysely } from 'kysely'
import { listObjects, partitionsSchemaName, schemaName, type SchemaObject } from './migration-bookkeeping.ts'
import { describeSqlError } from './migration-error.ts'
import type { FunctionFile } from './migration-files.ts'

const recorded = sql.table(`${schemaName}.schema_functions`)

/** Lists the function files that differ from what was last applied, including files that were removed since. */
export async function listChangedFunctionFiles(db: Kysely<unknown>, files: FunctionFile[]): Promise<string[]> {
  const { rows } = await sql<{ file: string; sha256: string }>`select file, sha256 from ${recorded}`.execute(db)
  const applied = new Map(rows.map((row) => [row.file, row.sha256]))
  const changed = files.filter((file) => applied.get(file.file) !== file.sha256).map((file) => file.file)
  const removed = rows.map((row) => row.file).filter((name) => !files.some((file) => file.file === name))
  return [...changed, ...removed].sort()
}

/**
 * Applies every function file, in any order, and checks the functions.
 *
 * A function that an earlier release's file created, and that no file creates any more, is dropped: its file is gone, or its
 * arguments changed.
 * @param earlier the functions that existed before only because of function files.
 * @returns the functions that exist now only because of function files.
 * @throws Error when a file fails, when a file does not create the function it is named after, when a body is not valid, or
 * when something depends on a function that has to be dropped.
 */
export async function applyFunctionFiles(
  db: Kysely<unknown>,
  files: FunctionFile[],
  earlier: SchemaObject[],
): Promise<SchemaObject[]> {
  const before = await listRoutines(db)
  // Bodies may call functions of files that come later, so all bodies are checked at the end.
  await sql`set local check_function_bodies = off`.execute(db)
  for (const file of files) {
    await sql
      .raw(file.sql)
      .execute(db)
      .catch((error: unknown) => {
        throw describeSqlError(`functions/${file.file}`, file.sql, error)
      })
  }
  await sql`set local check_function_bodies = on`.execute(db)
  const after = await listRoutines(db)
  const kept: SchemaObject[] = []
  for (const routine of earlier.filter(({ identity }) => after.has(identity))) {
    // `create or replace` writes a new version of the row. If the version is the same, no file has created the function.
    if (before.get(routine.identity)?.version !== after.get(routine.identity)?.version) kept.push(routine)
    else await sql.raw(`drop routine ${routine.identity}`).execute(db)
  }
  await verifyFunctions(db, files)
  await recordFiles(db, files)
  const made = [...after.values()].filter(({ identity }) => !before.has(identity))
  return [...kept, ...made.map(({ kind, identity }) => ({ kind, identity }))]
}

/**
 * Drops the functions that exist only because of function files. A function that something else depends on (a trigger, a view)
 * stays: a down file drops it with what depends on it.
 */
export async function dropFunctionsFromFiles(db: Kysely<unknown>, functions: SchemaObject[]): Promise<void> {
  let left = functions
  for (let dropped = true; dropped && left.length > 0;) {
    const rest: SchemaObject[] = []
    for (const routine of left) if (!(await dropUnlessNeeded(db, routine))) rest.push(routine)
    dropped = rest.length < left.length
    left = rest
  }
  // So the release that comes next applies all of its own function files.
  await sql`delete from ${recorded}`.execute(db)
}

async function dropUnlessNeeded(db: Kysely<unknown>, routine: SchemaObject): Promise<boolean> {
  await sql`savepoint drop_routine`.execute(db)
  try {
    await sql.raw(`drop routine if exists ${routine.identity}`).execute(db)
    return true
  } catch (error) {
    const dependentObjectsStillExist = '2BP01'
    if ((error as { code?: string }).code !== dependentObjectsStillExist) throw error
    await sql`rollback to savepoint drop_routine`.execute(db)
    return false
  } finally {
    await sql`release savepoint drop_routine`.execute(db)
  }
}

async function listRoutines(db: Kysely<unknown>): Promise<Map<string, SchemaObject & { version: string }>> {
  const { rows } = await sql<SchemaObject & { version: string }>`
    select identified.type as kind, identified.identity, p.ctid::text as version
      from pg_proc p, pg_identify_object('pg_proc'::regclass, p.oid, 0) identified
     where p.pronamespace in (${sql.lit(schemaName)}::regnamespace, ${sql.lit(partitionsSchemaName)}::regnamespace)`.execute(
    db,
  )
  return new Map(rows.map((row) => [row.identity, row]))
}

async function verifyFunctions(db: Kysely<unknown>, files: FunctionFile[]): Promise<void> {
  const names = new Set((await listObjects(db)).map(({ identity }) => identity.split('(')[0]))
  const missing = files.filter((file) => !names.has(file.functionName))
  if (missing.length > 0)
    throw new Error(
      `These function files did not create the function they are named after: ${missing.map((file) => file.file).join(', ')}`,
    )
  // Runs each language's own check of the bodies, which `check_function_bodies = off` had postponed.
  await sql
    .raw(`
    do $$
    declare
      v_routine record;
    begin
      for v_routine in
        select p.oid, p.oid::regprocedure::text as signature, l.lanvalidator::regproc::text as validator
          from pg_proc p join pg_language l on l.oid = p.prolang
         where p.pronamespace = '${schemaName}'::regnamespace and l.lanname in ('sql', 'plpgsql')
      loop
        begin
          execute format('select %s(%s)', v_routine.validator, v_routine.oid);
        exception when others then
          raise exception 'the body of % is not valid: %', v_routine.signature, sqlerrm;
        end;
      end loop;
    end
    $$`)
    .execute(db)
}

async function recordFiles(db: Kysely<unknown>, files: FunctionFile[]): Promise<void> {
  await sql`delete from ${recorded}`.execute(db)
  await sql`
    insert into ${recorded} (file, sha256)
    select file, sha256 from jsonb_to_recordset(${JSON.stringify(files)}::jsonb) as f (file text, sha256 text)
  `.execute(db)
}
