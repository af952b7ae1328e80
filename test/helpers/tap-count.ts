/** What one test file came to. */
export interface FileResult {
  file: string
  passed: number
  failed: number
  durationMs: number
  /** The failed points with their diagnostics, as TAP. */
  failures: string[]
}

const point = /^( *)(not )?ok \d+(?: - (.*?))?(?: # time=([\d.]+)ms)?( # (?:skip|todo)\b.*)?(?: \{)?$/i

/**
 * Reads the TAP of a whole run line by line and answers a result at the end of each file.
 *
 * The tests of a file are its outermost points. A skipped one proves nothing and counts as failed, at any depth; so
 * does a file that failed without a failed test (it crashed, or had none).
 */
export function createTapCounter(): (line: string) => FileResult | undefined {
  let current = emptyResult()
  let inFailure = false
  let failuresBefore = 0
  return (line) => {
    const match = point.exec(line)
    if (!match) {
      if (inFailure) current.failures.push(line)
      if (/^ *\.\.\.$/.test(line)) inFailure = false
      return undefined
    }
    const [, indent = '', not, name = '', time, directive] = match
    const isFailure = not !== undefined || directive !== undefined
    if (isFailure && indent.length > 0) current.failures.push(line)
    // What failed inside a test says more than the test's own diagnostics.
    inFailure =
      isFailure && (indent.length > 4 || (indent.length === 4 && current.failures.length === failuresBefore + 1))
    if (indent.length === 4) failuresBefore = current.failures.length
    if (indent.length === 4 && !isFailure) current.passed++
    if ((indent.length === 4 && isFailure) || (indent.length > 4 && directive)) current.failed++
    if (indent.length > 0) return undefined
    const result = { ...current, file: name, durationMs: Number(time ?? 0) }
    if (isFailure && result.failed === 0) {
      result.failed = 1
      result.failures.push('    the file failed as a whole: it had no tests, or ended early')
    }
    current = emptyResult()
    failuresBefore = 0
    return result
  }
}

function emptyResult(): FileResult {
  return { file: '', passed: 0, failed: 0, durationMs: 0, failures: [] }
}
