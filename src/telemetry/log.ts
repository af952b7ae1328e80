import { pino, type Logger } from 'pino'

/** Forms of secrets that an error or a URL may carry into a line: our keys, tokens, passwords within URLs, signing secrets. */
const FORMS: [RegExp, string][] = [
  [/\bpsr_[\w-]{8,}/g, 'psr_[redacted]'],
  // Looks from the beginning of a run whether it has two dots: from each eyJ in it, a long run of them would be read as often.
  [/(?<![\w-])(?=[\w-]+\.[\w-]+\.)([\w-]*?)eyJ[\w-]+\.[\w-]+\.[\w-]*/g, '$1[redacted token]'],
  [/\b(Bearer|Basic)(?:\s|%20|\+)+[^\s"\\,&]+/gi, '$1 [redacted]'],
  [/(:\/\/[^:/?#@\s"]*):[^@/\s"]+@/g, '$1:[redacted]@'],
  [/\bwhsec_[\w+/=-]+/g, 'whsec_[redacted]'],
]

/** Shorter values would take ordinary words out of the log. */
const SECRET_CHARACTERS_MIN = 8

/**
 * The log, in lines of JSON on standard output. No secret gets into it: neither anything in the form of one, nor the values
 * of `secrets`, wherever in a line they stand; the arguments of a command that Redis refused (its password may be among
 * them) are left out.
 */
export function openLog(level: string, secrets: (string | undefined)[]): Logger {
  const values = secrets.filter((secret) => secret !== undefined && secret.length >= SECRET_CHARACTERS_MIN) as string[]
  // As they stand in JSON.
  const texts = values.map((value) => JSON.stringify(value).slice(1, -1))
  return pino({
    level,
    redact: { paths: ['err.command', 'err.previousErrors[*].command', 'err.cause.command'], remove: true },
    hooks: {
      streamWrite: (line) => {
        let clean = line
        for (const text of texts) clean = clean.replaceAll(text, '[redacted]')
        return withoutForms(clean)
      },
    },
  })
}

/** A line without what has the form of a secret; in time that grows with its length, whatever a caller makes it hold. */
export function withoutForms(line: string): string {
  return FORMS.reduce((clean, [form, shown]) => clean.replace(form, shown), line)
}
