import Format from 'typebox/format'
import { Value } from 'typebox/value'
import type { Actor } from '../../db/keys/audit.ts'
import { change } from '../../db/pool/change.ts'
import type { Db } from '../../db/pool/connection.ts'
import { listQuotas as readQuotas, setQuotas, sumAhead, type QuotaInput } from '../../db/quotas/quotas.ts'
import { parseJson } from '../../domain/exact-json.ts'
import { invalidRequest } from '../../errors.ts'
import { FORMAT_MESSAGES, formatsOf } from '../../schemas/formats.ts'
import { QuotaFile, type QuotaFile as QuotaFileType } from '../../schemas/quotas.ts'
import { quotaBody, quotaInputs } from './quotas.ts'

const PAGE_ROWS = 1_000

/** Exports every quota in the form that importQuotas() reads: { "quotas": [...] }, without ids and times of this database. */
export async function exportQuotas({ db }: { db: Db }): Promise<{ quotas: object[] }> {
  const quotas: object[] = []
  for (let afterId = 0; ;) {
    const page = await readQuotas(db, {}, afterId, PAGE_ROWS)
    for (const quota of page) {
      const { quota_id: _id, created_at: _made, updated_at: _changed, ...rest } = quotaBody(quota)
      quotas.push(rest)
    }
    if (page.length < PAGE_ROWS) return { quotas }
    afterId = page.at(-1)!.quota_id
  }
}

/**
 * Creates or changes the quotas of a file by their natural keys, all or none, in one transaction. Other quotas do not change.
 *
 * @throws invalidRequest at /quotas/N/…; unavailable.
 */
export async function importQuotas(
  { db, allowEmailIds }: { db: Db; allowEmailIds: boolean },
  actor: Actor,
  text: string,
): Promise<{ made: number; changed: number }> {
  if (actor.reason !== null && !formatsOf({ allowEmailIds })['label']!(actor.reason)) {
    throw invalidRequest([{ pointer: 'reason', message: FORMAT_MESSAGES['label']! }])
  }
  const inputs = quotaInputs(readFile(text, allowEmailIds).quotas)
  const ahead: QuotaInput[][] = []
  for (let n = 0; n < inputs.length; n += PAGE_ROWS) ahead.push(await sumAhead(db, inputs.slice(n, n + PAGE_ROWS)))
  return change(db, actor, async (transaction) => {
    let made = 0
    for (const page of ahead) {
      const answers = await setQuotas(transaction, page, actor)
      made += answers.filter((answer) => answer.made).length
    }
    return { made, changed: inputs.length - made }
  })
}

/** Parses a file and validates its quotas by the same schema as the API. */
function readFile(text: string, allowEmailIds: boolean): QuotaFileType {
  let file: unknown
  try {
    file = parseJson(text)
  } catch {
    throw invalidRequest([{ pointer: '', message: 'is not JSON' }])
  }
  for (const [name, format] of Object.entries(formatsOf({ allowEmailIds }))) Format.Set(name, format)
  if (Value.Check(QuotaFile, file)) return file
  const errors = Value.Errors(QuotaFile, file).map(({ instancePath: pointer, keyword, params, message }) => ({
    pointer,
    message: keyword === 'format' ? (FORMAT_MESSAGES[String(params.format)] ?? message) : message,
  }))
  throw invalidRequest(errors)
}
