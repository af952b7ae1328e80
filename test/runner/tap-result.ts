import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { Parser, type FinalResults, type Result } from 'tap-parser'
import { stringify } from 'yaml'

/** What the tests of one file came to. */
export interface TapResult {
  passed: number
  failed: number
  /** What failed and why, one text for each failed point. */
  failures: string[]
  /** The names of the tests, in their order. */
  names: string[]
  /** What the tests said about themselves, such as the seeds of random choices. */
  comments: string[]
}

/** Beyond this many, the failures of a file are only counted. */
const FAILURES_MAX = 20

/** Comments that tap writes by itself. */
const OWN_COMMENT = /^# (?:Subtest: |time=|\{ total: )/

/**
 * Reads the TAP that a test file prints until the stream ends.
 *
 * The outermost points are the tests. A skipped or unfinished (todo) test proves nothing and counts as failed, at any
 * depth. So does a file that fails without a failed test: it crashed, or it has no tests.
 */
export async function readTap(stream: Readable): Promise<TapResult> {
  const result: TapResult = { passed: 0, failed: 0, failures: [], names: [], comments: [] }
  const parser = new Parser()
  follow(parser, 0)
  const complete = once(parser, 'complete') as Promise<[FinalResults]>
  stream.pipe(parser)
  // A stream that is destroyed does not end the parser. Its missing plan then fails the file.
  stream.once('close', () => {
    if (!stream.readableEnded) parser.end()
  })
  const [final] = await complete
  if (result.failed === 0 && (!final.ok || result.passed === 0)) {
    result.failed = 1
    result.failures.push(['the file failed as a whole', ...final.failures.map(describeFault)].join('\n'))
  }
  return result

  function follow(level: Parser, depth: number): void {
    level.on('child', (child: Parser) => follow(child, depth + 1))
    level.on('comment', (comment: string) => {
      if (!OWN_COMMENT.test(comment)) result.comments.push(comment.trimEnd())
    })
    level.on('assert', (point: Result) => {
      const isUnproven = point.skip !== false || point.todo !== false
      const isFailed = !point.ok || isUnproven
      if (depth === 0) {
        result.names.push(point.name)
        if (isFailed) result.failed++
        else result.passed++
      } else if (isUnproven) result.failed++
      // A test that closes has been described by what failed inside it.
      if (
        isFailed &&
        (isUnproven || !point.closingTestPoint || !hasFailures(point)) &&
        result.failures.length < FAILURES_MAX
      )
        result.failures.push(describe(point))
    })
  }

  function hasFailures(point: Result): boolean {
    return result.failures.some((failure) => failure.startsWith(`${point.fullname} > `))
  }
}

function describe({ fullname, skip, todo, diag }: Result): string {
  if (skip !== false || todo !== false) {
    const reason = [skip, todo].filter((value) => typeof value === 'string').join()
    return `${fullname}\n  ${skip === false ? 'unfinished (todo)' : 'skipped'}, which counts as failed: ${reason || 'no reason given'}`
  }
  // The quoted source repeats what the place says.
  const { source: _source, ...shown } = (diag ?? {}) as Record<string, unknown>
  return Object.keys(shown).length === 0 ? fullname : `${fullname}\n${indent(stringify(shown).trimEnd())}`
}

function describeFault(fault: FinalResults['failures'][number]): string {
  return `  ${fault.tapError ?? (fault as Result).name}`
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}
