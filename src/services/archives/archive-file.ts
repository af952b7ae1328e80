import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { exactSum } from '../../domain/money.ts'
import { FILE_MODE, makeArchiveFolder } from './archive-folder.ts'

/** What a file has: records, the sum of their costs as decimal text, and the SHA-256 of its uncompressed content. */
export type Content = { records: number; cost_usd: string; content_sha256: string }

/** What nobody has written to for so long was left behind by a run that broke off. */
const LEFT_BEHIND_MS = 86_400_000

/**
 * Writes records, one JSON text a line, into a compressed file, and answers what it has. It has its name only once it is whole,
 * on the disk, read back and accepted: another run that archives the same month may have dropped it meanwhile, and then the
 * file that is there is all that is left of it.
 *
 * @param linesMax so many lines are read back at once.
 * @throws what `accept` throws, with the file that is there as it was; Error where the folder is not ours alone.
 */
export async function writeArchive(
  file: string,
  rows: AsyncIterable<string>,
  linesMax: number,
  accept: (found: Content) => void,
): Promise<Content> {
  await makeArchiveFolder(dirname(file))
  await removeLeftBehind(file)
  // A name of this run's own: two that write one file make a file that neither has read back.
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

/** Writes what the file has beside it, for people and for a restore into another database. */
export async function writeManifest(file: string, manifest: Content & { partition: string }): Promise<void> {
  const target = file.replace(/\.jsonl\.gz$/, '.manifest.json')
  const part = `${target}.${randomUUID()}.part`
  await writeFile(part, `${JSON.stringify({ ...manifest, file: basename(file) }, null, 2)}\n`, { mode: FILE_MODE })
  await flush(part)
  await rename(part, target)
}

/** Reads a file back: its lines, in loads of at most so many; what it has is answered at the end. */
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

/** The lines of a compressed file. They end where they were ended: a text may have what other readers take for an end of line. */
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

/** The cost of a record by its decimal text. */
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
