const LINES_EVERY_MS = 2_000
/** For a terminal that does not say how wide it is. */
const COLUMNS_UNTOLD = 80

/** A line on stderr that says how far it is: rewritten in a terminal, a new one now and then elsewhere. */
export class Progress {
  readonly #terminal = process.stderr.isTTY
  #shown = ''
  #shownAt = 0

  say(line: string): void {
    if (this.#terminal) this.#rewrite(line)
    else process.stderr.write(`${line}\n`)
    this.#shownAt = performance.now()
  }

  /** One step more of many; most of them are not shown outside a terminal. */
  step(line: string): void {
    if (this.#terminal || performance.now() - this.#shownAt >= LINES_EVERY_MS) this.say(line)
  }

  /** Takes the line away, so that something else can be printed. */
  clear(): void {
    if (this.#terminal) this.#rewrite('')
  }

  #rewrite(line: string): void {
    const fitting = line.slice(0, (process.stderr.columns || COLUMNS_UNTOLD) - 1)
    process.stderr.write(`\r${fitting}${' '.repeat(Math.max(0, this.#shown.length - fitting.length))}\r${fitting}`)
    this.#shown = fitting
  }
}
