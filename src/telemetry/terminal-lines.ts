import { stripVTControlCharacters } from 'node:util'
import { pino } from 'pino'
import { prettyFactory, type PrettyOptions } from 'pino-pretty'

type Fields = {
  level: number
  time: number
  msg?: string
  /** The step of the start that a line reports. */
  step?: string
  req?: { method: string; url: string }
  res?: { statusCode: number | null }
  responseTime?: number
}

type Colors = Parameters<Exclude<PrettyOptions['messageFormat'], string | false | undefined>>[3]['colors']

const LABEL_CHARACTERS = 11
const WARN = pino.levels.values['warn']!

/**
 * A line of the log for people: the step of the start or else the time of day, then what happened.
 *
 * pino-pretty adds the fields that are not named here, the stack of an error, and colours where the terminal has them.
 */
export const formatForTerminal = prettyFactory({
  // pino-pretty leaves out terminal control characters in fields, but not in what this function returns.
  messageFormat: (log, _messageKey, _levelLabel, { colors }) => formatMessage(log as Fields, colors),
  customColors: 'message:reset',
  ignore: 'pid,hostname,level,time,step,migrations,reqId,req,res,responseTime',
  singleLine: true,
})

function formatMessage(fields: Fields, colors: Colors): string {
  const { level, step, req } = fields
  const message = stripVTControlCharacters(fields.msg ?? '')
  if (step !== undefined) return formatStep(step, message, colors)
  // This line is Fastify's, so it has no step.
  const [, address] = /^Server listening at (\S+)$/.exec(message) ?? []
  if (address !== undefined) return formatStep('listening', address, colors)

  const time = colors.gray(new Date(fields.time).toTimeString().slice(0, 8).padEnd(LABEL_CHARACTERS))
  const what = req === undefined ? message : formatRequest(fields, req, message)
  if (level < WARN) return `${time}${what}`
  const paint = level > WARN ? colors.red : colors.yellow
  return `${time}${paint(pino.levels.labels[level] ?? String(level))} ${what}`
}

function formatStep(step: string, message: string, colors: Colors): string {
  return `${colors.cyan(step.padEnd(LABEL_CHARACTERS))}${message}`
}

function formatRequest({ res, responseTime }: Fields, req: { method: string; url: string }, message: string): string {
  return [
    `${req.method} ${stripVTControlCharacters(req.url)}`,
    ...(res?.statusCode == null ? [] : [res.statusCode]),
    ...(responseTime === undefined ? [] : [`in ${responseTime.toFixed(1)} ms`]),
    ...(message === 'request' ? [] : [`(${message})`]),
  ].join(' ')
}
