import AjvCompiler from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify'
import { pointerStep } from '../../domain/json-pointer.ts'
import type { FieldError } from '../../errors.ts'
import { FORMAT_MESSAGES, formatsOf } from '../../schemas/formats.ts'

type Validate = ReturnType<FastifySchemaCompiler<unknown>>

const NO_QUERY = { type: 'object', properties: {}, additionalProperties: false }

/**
 * Strict validation: unknown fields are errors, and values in a body are never converted. Parts of the URL are text, so they are
 * converted. Reports all failures.
 */
export function registerValidation(app: FastifyInstance, options: { allowEmailIds: boolean }): void {
  const formats = formatsOf(options)
  const common = {
    removeAdditional: false,
    useDefaults: true,
    allErrors: true,
    allowUnionTypes: true,
  } as const
  const factory = AjvCompiler()
  // Added after the compiler's own formats, to replace them: those are less strict.
  const onCreate = (ajv: { addFormat(name: string, format: (text: string) => boolean): unknown }) => {
    for (const [name, format] of Object.entries(formats)) ajv.addFormat(name, format)
  }
  const strict = factory({}, { customOptions: { ...common, coerceTypes: false }, onCreate })
  // 1e400 becomes Infinity. It must count as a number, otherwise no minimum or maximum would apply to it.
  const url = { ...common, coerceTypes: 'array', strictNumbers: false } as const
  const coercing = factory({}, { customOptions: url, onCreate })
  // A route without query parameters refuses a query.
  app.addHook('onRoute', ({ url: path, schema }) => {
    if (schema !== undefined && path.startsWith('/v1/')) schema.querystring ??= NO_QUERY
  })
  app.setValidatorCompiler((route) => (route.httpPart === 'body' ? withLongNumbers(strict(route)) : coercing(route)))
}

/**
 * parseJson() returns a number with more digits than a double holds as text, so that amounts stay exact. In a field that is
 * not an amount, this converts it to the nearest double. Only bodies that fail validation take this second look.
 */
function withLongNumbers(validate: Validate): Validate {
  const validateTwice: Validate = (body: unknown) => {
    let valid = validate(body)
    let shortened = false
    if (valid === false) {
      for (const failure of validate.errors ?? []) shortened = shortenNumber(body, failure) || shortened
      if (shortened) valid = validate(body)
    }
    validateTwice.errors = validate.errors ?? null
    return valid
  }
  return validateTwice
}

const LONG_NUMBER_TEXT = /^-?[0-9]+(\.[0-9]+)?$/

/** Converts the text to a number if the failure was about one. Returns whether it did. Amounts are unions that accept the text. */
function shortenNumber(
  body: unknown,
  { keyword, params, instancePath, schemaPath }: FastifySchemaValidationError,
): boolean {
  if (keyword !== 'type' || !['number', 'integer'].includes(String(params['type']))) return false
  if (schemaPath.includes('/anyOf/')) return false
  const steps = instancePath.split('/').slice(1)
  const last = steps.pop()
  const holder = steps.reduce((value, step) => (value as Record<string, unknown>)[step], body) as Record<
    string,
    unknown
  >
  const text = last === undefined ? undefined : holder[last]
  if (typeof text !== 'string' || text.length < 16 || !LONG_NUMBER_TEXT.test(text)) return false
  holder[last!] = Number(text)
  return true
}

/** Keywords whose failures are reported elsewhere: at a place below the object, or by an inner union. */
const REPORTED_ELSEWHERE = new Set(['anyOf', 'required', 'additionalProperties'])

/** Enough for a bulk of 1,000 items with several failures each. A body can have half a million, which would be a huge answer. */
const FAILURES_REPORTED_MAX = 5_000

/**
 * Turns the first FAILURES_REPORTED_MAX failures of a validation into pointers and messages. All branches of a union become one
 * message.
 */
export function fieldErrors(all: FastifySchemaValidationError[], httpPart: string | undefined): FieldError[] {
  const failures = all.slice(0, FAILURES_REPORTED_MAX)
  const errors = new Map<string, string>()
  for (const failure of failures) {
    // The reason why a name is invalid. The failure of the name itself follows, with its place.
    if (failure.schemaPath.includes('/propertyNames/')) continue
    const pointer = pointerOf(failure, httpPart)
    if (failure.keyword !== 'anyOf') {
      if (!errors.has(pointer)) errors.set(pointer, messageOf(failure))
      continue
    }
    const message = unionMessage(failures, failure)
    if (message === null) errors.delete(pointer)
    else errors.set(pointer, message)
  }
  return [...errors].map(([pointer, message]) => ({ pointer, message }))
}

function pointerOf(
  { keyword, params, instancePath }: FastifySchemaValidationError,
  httpPart: string | undefined,
): string {
  const base = httpPart === 'body' ? instancePath : instancePath.slice(1)
  const join = (name: unknown) => {
    const step = pointerStep(String(name))
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

/** The message of a union; null if the failure is below it and is reported there. */
function unionMessage(failures: FastifySchemaValidationError[], union: FastifySchemaValidationError): string | null {
  const branches = failures.filter(
    ({ instancePath, keyword }) => instancePath === union.instancePath && !REPORTED_ELSEWHERE.has(keyword),
  )
  const constants = branches
    .filter(({ keyword }) => keyword === 'const')
    .map(({ params }) => JSON.stringify(params['allowedValue']))
  if (constants.length > 0) return `must be one of ${[...new Set(constants)].join(', ')}`
  const notNull = branches.filter(({ keyword, params }) => !(keyword === 'type' && params['type'] === 'null'))
  const bounds = notNull.filter(({ keyword }) => keyword !== 'type')
  const messages = (bounds.length > 0 ? bounds : notNull).map(messageOf)
  return messages.length === 0 ? null : [...new Set(messages)].join(', or ')
}
