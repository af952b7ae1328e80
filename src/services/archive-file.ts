import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { exactSum } from '../domain/money.ts'

/** What a file has: records, the sum of their costs as decimal text, and the SHA-256 of its uncompressed content. */
export type Content = { records: number; cost_usd: string; content_sha256: string }

/** Writes records, one JSON text a line, into a compressed file. It has its name only once it is whole and on the disk. */
export async function writeArchive(dir: string, name: string, rows: AsyncIterable<string>): Promise<string> {
  await mkdir(dir, { recursive: true })
  const file = join(dir, `${name}.jsonl.gz`)
  async function* lines() {
    for await (const row of rows) yield `${row}\n`
  }
  await pipeline(Readable.from(lines()), createGzip(), createWriteStream(`${file}.part`))
  await flush(`${file}.part`)
  await rename(`${file}.part`, file)
  await flush(dir)
  return file
}

/** Writes what the file has beside it, for people and for a restore into another database. */
export async function writeManifest(file: string, manifest: Content & { partition: string }): Promise<void> {
  const target = file.replace(/\.jsonl\.gz$/, '.manifest.json')
  await writeFile(`${target}.part`, `${JSON.stringify({ ...manifest, file: basename(file) }, null, 2)}\n`)
  await flush(`${target}.part`)
  await rename(`${target}.part`, target)
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
    costUsd = exactSum([costUsd, ...load.map(costOf)])
    records += load.length
    await take(load)
    load = []
  }
  const unzip = createGunzip()
  const source = createReadStream(file)
  source.on('error', (error) => unzip.destroy(error))
  for await (const line of createInterface({ input: source.pipe(unzip), crlfDelay: Infinity })) {
    hash.update(`${line}\n`)
    load.push(line)
    if (load.length === linesMax) await hand()
  }
  if (unzip.errored) throw unzip.errored
  await hand()
  return { records, cost_usd: costUsd, content_sha256: hash.digest('hex') }
}

/** The cost of a record by its decimal text. */
function costOf(row: string): string {
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
