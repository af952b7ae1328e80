const LINES_EVERY_MS = 2_000
/** The width for a terminal that does not report its own. */
const COLUMNS_UNTOLD = 80

/** Shows progress on stderr: one line that is rewritten in a terminal, or a new line now and then elsewhere. */
export class Progress {
  readonly #terminal = process.stderr.isTTY
  #shown = ''
  #shownAt = 0

  say(line: string): void {
    if (this.#terminal) this.#rewrite(line)
    else process.stderr.write(`${line}\n`)
    this.#shownAt = performance.now()
  }

  /** Counts one more step. Outside a terminal most steps are not shown. */
  step(line: string): void {
    if (this.#terminal || performance.now() - this.#shownAt >= LINES_EVERY_MS) this.say(line)
  }

  /** Removes the line, so that something else can be printed. */
  clear(): void {
    if (this.#terminal) this.#rewrite('')
  }

  #rewrite(line: string): void {
    const fitting = line.slice(0, (process.stderr.columns || COLUMNS_UNTOLD) - 1)
    process.stderr.write(`\r${fitting}${' '.repeat(Math.max(0, this.#shown.length - fitting.length))}\r${fitting}`)
    this.#shown = fitting
  }
}
