import { parseArgs } from 'node:util'

type Value = number | boolean | string | number[] | string[]
type Values = Record<string, Value>

/** Something to measure. `run` finds the figures, `print` makes lines of text of them. */
export type Scenario<Options extends Values = Values, Figures extends object = object> = {
  /** What is measured and how, for `--help`. */
  help: string
  /** Each option's default, whose type is that of the option, and its line of the help. */
  options: { [Name in keyof Options]: [byDefault: Options[Name], help: string] }
  /** The name of the one argument that stands beside the options, where there is one. */
  argument?: string
  /** What `run` defers to the stack is undone at its end, also after a failure and at Ctrl-C. */
  run(stack: AsyncDisposableStack, options: Options, argument: string): Promise<Figures>
  print(figures: Figures, options: Options): string[]
}

/** A wrong command line: the message is for the user, who needs no stack trace. */
export class UsageError extends Error {}

/** Lets TypeScript find the types of the options and the figures. */
export function defineScenario<Options extends Values, Figures extends object>(
  scenario: Scenario<Options, Figures>,
): Scenario<Options, Figures> {
  return scenario
}

/** Reads a command line. @throws UsageError */
export function readOptions({ options, argument }: Scenario, args: string[]) {
  const known: Scenario['options'] = { ...options, json: [false, ''], help: [false, ''] }
  const isFlag = (name: string) => typeof known[name]![0] === 'boolean'
  const parsed = usage(() =>
    parseArgs({
      args,
      allowPositionals: argument !== undefined,
      options: Object.fromEntries(
        Object.keys(known).map((name) => [name, { type: isFlag(name) ? 'boolean' : 'string' } as const]),
      ),
    }),
  )
  const { json, help, ...values } = Object.fromEntries(
    Object.entries(known).map(([name, [byDefault]]) => {
      const given = parsed.values[name]
      return [name, typeof given === 'string' ? readValue(name, given, byDefault) : (given ?? byDefault)]
    }),
  )
  if (argument !== undefined && !help && parsed.positionals.length !== 1) throw new UsageError(`${argument} is missing`)
  return { json: json === true, help: help === true, values, argument: parsed.positionals[0] ?? '' }
}

/** The text of `--help` for one scenario. */
export function helpOf(name: string, { help, options, argument }: Scenario): string {
  const rows = Object.entries(options).map(([option, [byDefault, line]]) => [
    `--${option}${placeholder(byDefault)}`,
    `${line}${typeof byDefault === 'boolean' || byDefault === '' ? '' : ` (default ${String(byDefault)})`}`,
  ])
  rows.push(['--json', 'the figures as JSON'], ['--help', 'this text'])
  const width = Math.max(...rows.map(([option]) => option!.length)) + 3
  return [
    `Usage: npm run bench -- ${name}${argument === undefined ? '' : ` ${argument}`} [options]`,
    `\n${help}\n\nOptions`,
    ...rows.map(([option, line]) => `  ${option!.padEnd(width)}${line!}`),
  ].join('\n')
}

function readValue(name: string, text: string, byDefault: Value): Value {
  if (typeof byDefault === 'number') return readNumber(name, text)
  if (!Array.isArray(byDefault)) return text
  const parts = text.split(',')
  return typeof byDefault[0] === 'number' ? parts.map((part) => readNumber(name, part)) : parts
}

function readNumber(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`--${name} takes whole numbers, not ${text}`)
  return Number(text)
}

function placeholder(byDefault: Value): string {
  if (typeof byDefault === 'boolean') return ''
  if (typeof byDefault === 'number') return ' N'
  if (typeof byDefault === 'string') return ' FOLDER'
  return typeof byDefault[0] === 'number' ? ' N,…' : ' a,b'
}

function usage<Result>(read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}
