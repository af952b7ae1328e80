import { readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const FETCH_MS_MAX = 8_000
const BYTES_MAX = 32 * 1_048_576

/** A source of prices that cannot be read or has the wrong form. The message names the source and the reason. */
export class SourceError extends Error {
  override readonly name = 'SourceError'
}

/**
 * Reads the JSON at a path, a file: URL or an http(s) URL.
 *
 * Bounds: 8 s over the network, 32 MiB.
 * @throws SourceError
 */
export async function readJson(location: string): Promise<unknown> {
  const text = await (/^https?:/i.test(location) ? fetchText(location) : readText(location)).catch((cause: unknown) => {
    if (cause instanceof SourceError) throw cause
    throw new SourceError(`${location} cannot be read: ${readFaultText(cause)}`, { cause })
  })
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new SourceError(`${location} is not JSON`, { cause })
  }
}

/**
 * When the data at a location changed: the modification time of a file, the current time for a URL. @throws Error if
 * there is no file.
 */
export async function changedAt(location: string): Promise<Date> {
  return /^https?:/i.test(location) ? new Date() : (await stat(pathOf(location))).mtime
}

const pathOf = (location: string) => (location.startsWith('file:') ? fileURLToPath(location) : location)

async function readText(location: string): Promise<string> {
  const path = pathOf(location)
  if ((await stat(path)).size > BYTES_MAX) throw new SourceError(`${location} is larger than ${BYTES_MAX} bytes`)
  return readFile(path, 'utf8')
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_MS_MAX) })
  if (!response.ok) throw new SourceError(`${url} answers ${response.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).byteLength
    if (bytes > BYTES_MAX) throw new SourceError(`${url} is larger than ${BYTES_MAX} bytes`)
    chunks.push(chunk as Uint8Array)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function readFaultText(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? `${message} (${cause.message})` : message
}
