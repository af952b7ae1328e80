import { pino, type DestinationStream, type Logger, type LoggerOptions } from 'pino'

/** Forms of secrets that an error or a URL may carry into a line: our keys, tokens, passwords in URLs, signing secrets. */
const FORMS: [RegExp, string][] = [
  [/\bpsr_[\w-]{8,}/g, 'psr_[redacted]'],
  // Checks once, at the start of a run, that the run has two dots. A check at each eyJ would read a long run as often as it has one.
  [/(?<![\w-])(?=[\w-]+\.[\w-]+\.)([\w-]*?)eyJ[\w-]+\.[\w-]+\.[\w-]*/g, '$1[redacted token]'],
  [/\b(Bearer|Basic)(?:\s|%20|\+)+[^\s"\\,&]+/gi, '$1 [redacted]'],
  [/(:\/\/[^:/?#@\s"]*):[^@/\s"]+@/g, '$1:[redacted]@'],
  [/\bwhsec_[\w+/=-]+/g, 'whsec_[redacted]'],
]

/** Removing shorter values would remove ordinary words as well. */
const SECRET_CHARACTERS_MIN = 8

/**
 * Opens the log on standard output: lines for people on a terminal, JSON everywhere else.
 *
 * No secret gets into it: neither text in the form of one, nor the values of `secrets`, anywhere in a line. The arguments of a
 * command that Redis refused are left out, because its password may be among them.
 * @param terminal where lines for people go; null writes JSON to standard output.
 */
export async function openLog(
  level: string,
  secrets: (string | undefined)[],
  terminal: DestinationStream | null = process.stdout.isTTY ? process.stdout : null,
): Promise<Logger> {
  const values = secrets.filter((secret) => secret !== undefined && secret.length >= SECRET_CHARACTERS_MIN) as string[]
  // As they are written in JSON.
  const texts = values.map((value) => JSON.stringify(value).slice(1, -1))
  const options: LoggerOptions = {
    level,
    redact: { paths: ['err.command', 'err.previousErrors[*].command', 'err.cause.command'], remove: true },
    hooks: {
      // Runs before a line is formatted for a terminal, so both forms are clean.
      streamWrite: (line) => {
        let clean = line
        for (const text of texts) clean = clean.replaceAll(text, '[redacted]')
        return withoutForms(clean)
      },
    },
  }
  if (terminal === null) return pino(options)
  // Loaded only here: a service that writes JSON does not pay for the formatter.
  const { formatForTerminal } = await import('./terminal-lines.ts')
  return pino(options, { write: (line) => terminal.write(formatForTerminal(line)) })
}

/** A line without text in the form of a secret. Takes time in proportion to its length, whatever a caller puts into it. */
export function withoutForms(line: string): string {
  return FORMS.reduce((clean, [form, shown]) => clean.replace(form, shown), line)
}
