import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { exactSum } from '../../domain/money.ts'
import { FILE_MODE, makeArchiveFolder } from './archive-folder.ts'

/**
 * The content of a file: the number of records, the sum of their costs as decimal text, and the SHA-256 of the uncompressed
 * data.
 */
export type Content = { records: number; cost_usd: string; content_sha256: string }

/** A .part file that was not written to for this long was left behind by a failed run. */
const LEFT_BEHIND_MS = 86_400_000

/**
 * Writes records into a compressed file, one JSON text per line. Returns its content as read back from the disk.
 *
 * The file gets its name only when it is complete, flushed, read back and accepted. Another run that archives the same month
 * may already have dropped the month from the database; an existing file is then the only copy and must not be damaged.
 *
 * @param linesMax how many lines are read back at once.
 * @throws what `accept` throws, with an existing file unchanged; Error if the folder is shared with other users.
 */
export async function writeArchive(
  file: string,
  rows: AsyncIterable<string>,
  linesMax: number,
  accept: (found: Content) => void,
): Promise<Content> {
  await makeArchiveFolder(dirname(file))
  await removeLeftBehind(file)
  // Use a name unique to this run. If two runs wrote to one file, neither would have verified the result.
  const part = `${file}.${randomUUID()}.part`
  async function* lines() {
    for await (const row of rows) yield `${row}\n`
  }
  try {
    await pipeline(Readable.from(lines()), createGzip(), createWriteStream(part, { mode: FILE_MODE }))
    await flush(part)
    const found = await readArchive(part, linesMax, async () => {})
    accept(found)
    await rename(part, file)
    await flush(dirname(file))
    return found
  } finally {
    await rm(part, { force: true })
  }
}

async function removeLeftBehind(file: string): Promise<void> {
  const parts = (await readdir(dirname(file))).filter(
    (name) => name.startsWith(basename(file)) && name.endsWith('.part'),
  )
  for (const name of parts) {
    const part = join(dirname(file), name)
    const { mtimeMs } = await stat(part).catch(() => ({ mtimeMs: Infinity }))
    if (mtimeMs < Date.now() - LEFT_BEHIND_MS) await rm(part, { force: true })
  }
}

/** Writes a manifest beside the file, for people and for a restore into another database. */
export async function writeManifest(file: string, manifest: Content & { partition: string }): Promise<void> {
  const target = file.replace(/\.jsonl\.gz$/, '.manifest.json')
  const part = `${target}.${randomUUID()}.part`
  await writeFile(part, `${JSON.stringify({ ...manifest, file: basename(file) }, null, 2)}\n`, { mode: FILE_MODE })
  await flush(part)
  await rename(part, target)
}

/** Reads a file and passes on its lines, at most `linesMax` at once. Returns its content at the end. */
export async function readArchive(
  file: string,
  linesMax: number,
  take: (rows: string[]) => Promise<void>,
): Promise<Content> {
  const hash = createHash('sha256')
  let records = 0
  let costUsd = '0'
  let load: string[] = []
  async function hand(): Promise<void> {
    costUsd = exactSum([costUsd, ...load.map(recordCostText)])
    records += load.length
    await take(load)
    load = []
  }
  for await (const line of linesOf(file)) {
    hash.update(`${line}\n`)
    load.push(line)
    if (load.length === linesMax) await hand()
  }
  await hand()
  return { records, cost_usd: costUsd, content_sha256: hash.digest('hex') }
}

/**
 * Reads the lines of a compressed file. Only \n ends a line, because texts may contain other characters that some readers
 * take for a line end.
 */
async function* linesOf(file: string): AsyncGenerator<string> {
  const unzip = createGunzip()
  const source = createReadStream(file)
  source.on('error', (error) => unzip.destroy(error))
  let rest = ''
  for await (const text of source.pipe(unzip).setEncoding('utf8') as AsyncIterable<string>) {
    const lines = `${rest}${text}`.split('\n')
    rest = lines.pop()!
    yield* lines
  }
  if (rest !== '') yield rest
}

/** Reads the cost of a record as the decimal text that was written. */
function recordCostText(row: string): string {
  const record = JSON.parse(row, (_key, value: unknown, { source }) =>
    typeof value === 'number' ? source : value,
  ) as { total_cost_usd: string }
  return record.total_cost_usd
}

async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
