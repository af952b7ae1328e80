import AjvCompiler from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify'
import type { FieldError } from '../../errors.ts'

// Controls, lone surrogates and line separators; Postgres or a log line would not take them.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u
const EMAIL = /[^\s@]+@[^\s@]+\.[^\s@]+/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
// Years and offsets that Postgres takes too.
const RFC_3339 = /^[1-9]\d{3}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):[0-5]\d)$/i

const NO_QUERY = { type: 'object', properties: {}, additionalProperties: false }

/** What a format that is not met is answered with. */
const FORMAT_MESSAGES: Record<string, string> = {
  id: 'must be printable, and not look like an e-mail address: use an id',
  label: 'must be printable, and not look like an e-mail address: no personal data goes into records',
  uuid: 'must be a UUID',
  'date-time': 'must be a time as in RFC 3339, for instance 2026-11-24T00:00:00Z',
  'time-zone': 'must be an IANA time zone, for instance Europe/Dublin',
}

/**
 * Strict validation: nothing unknown is dropped and no body is coerced; parts of the URL, which are text, are. All
 * failures are reported.
 */
export function registerValidation(app: FastifyInstance, options: { allowEmailIds: boolean }): void {
  const printable = (text: string) => !UNPRINTABLE.test(text) && (options.allowEmailIds || !EMAIL.test(text))
  const formats = { id: printable, label: printable, uuid: UUID, 'date-time': isTime, 'time-zone': isTimeZone }
  const common = {
    removeAdditional: false,
    useDefaults: true,
    allErrors: true,
    allowUnionTypes: true,
  } as const
  const factory = AjvCompiler()
  // After the compiler's own, which are laxer.
  const onCreate = (ajv: { addFormat(name: string, format: RegExp | ((text: string) => boolean)): unknown }) => {
    for (const [name, format] of Object.entries(formats)) ajv.addFormat(name, format)
  }
  const strict = factory({}, { customOptions: { ...common, coerceTypes: false }, onCreate })
  const coercing = factory({}, { customOptions: { ...common, coerceTypes: 'array' }, onCreate })
  // A route that takes no query says so to those who send one.
  app.addHook('onRoute', ({ url, schema }) => {
    if (schema !== undefined && url.startsWith('/v1/')) schema.querystring ??= NO_QUERY
  })
  app.setValidatorCompiler((route) => (route.httpPart === 'body' ? strict(route) : finite(coercing(route))))
}

type Validate = ReturnType<FastifySchemaCompiler<unknown>>

/** Ajv makes Infinity of the text, and then holds it to no bound. */
function finite(validate: Validate): Validate {
  const checked: Validate = (data: unknown) => {
    const valid = validate(data)
    checked.errors = validate.errors ?? null
    if (valid === false) return false
    const wrong = Object.entries(data as object).filter(
      ([, value]) => typeof value === 'number' && !Number.isFinite(value),
    )
    if (wrong.length === 0) return valid
    checked.errors = wrong.map(([name]) => ({
      keyword: 'type',
      instancePath: `/${name}`,
      schemaPath: '',
      params: { type: 'number' },
      message: 'must be a finite number',
    }))
    return false
  }
  return checked
}

function isTime(text: string): boolean {
  return RFC_3339.test(text) && !Number.isNaN(Date.parse(text)) && isCalendarDay(text.slice(0, 10))
}

/** JavaScript rolls the 30th of February over into March; a caller's slip must not. */
function isCalendarDay(day: string): boolean {
  return new Date(`${day}T00:00:00Z`).toISOString().startsWith(day)
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return /^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name)
  } catch {
    return false
  }
}

/** The failures of a validation as pointers and what to do; a union's branches become one line. */
export function fieldErrors(failures: FastifySchemaValidationError[], httpPart: string | undefined): FieldError[] {
  const errors = new Map<string, string>()
  for (const failure of failures) {
    const pointer = pointerOf(failure, httpPart)
    const message = messageOf(failure)
    const known = errors.get(pointer)
    if (known === undefined) errors.set(pointer, message)
    else if (failure.keyword === 'anyOf') errors.set(pointer, unionMessage(failures, failure))
  }
  return [...errors].map(([pointer, message]) => ({ pointer, message }))
}

function pointerOf(
  { keyword, params, instancePath }: FastifySchemaValidationError,
  httpPart: string | undefined,
): string {
  const base = httpPart === 'body' ? instancePath : instancePath.slice(1)
  const join = (name: unknown) => {
    const step = String(name).replaceAll('~', '~0').replaceAll('/', '~1')
    return httpPart === 'body' || base !== '' ? `${base}/${step}` : step
  }
  if (keyword === 'required') return join(params['missingProperty'])
  if (keyword === 'additionalProperties') return join(params['additionalProperty'])
  if (keyword === 'propertyNames') return join(params['propertyName'])
  return base
}

function messageOf({ keyword, params, message }: FastifySchemaValidationError): string {
  if (keyword === 'required') return 'is required'
  if (keyword === 'additionalProperties') return 'is not a known field'
  if (keyword === 'propertyNames') return 'is not a valid name: [a-z][a-z0-9_]{0,62}'
  if (keyword === 'format') return FORMAT_MESSAGES[String(params['format'])] ?? message ?? 'is invalid'
  if (keyword === 'const') return `must be ${JSON.stringify(params['allowedValue'])}`
  return message ?? 'is invalid'
}

function unionMessage(failures: FastifySchemaValidationError[], union: FastifySchemaValidationError): string {
  const branches = failures.filter(
    ({ instancePath, keyword }) => instancePath === union.instancePath && keyword !== 'anyOf' && keyword !== 'required',
  )
  const constants = branches
    .filter(({ keyword }) => keyword === 'const')
    .map(({ params }) => JSON.stringify(params['allowedValue']))
  if (constants.length > 0) return `must be one of ${[...new Set(constants)].join(', ')}`
  const notNull = branches.filter(({ keyword, params }) => !(keyword === 'type' && params['type'] === 'null'))
  const bounds = notNull.filter(({ keyword }) => keyword !== 'type')
  const told = (bounds.length > 0 ? bounds : notNull).map(messageOf)
  return [...new Set(told)].join(', or ') || 'is invalid'
}
