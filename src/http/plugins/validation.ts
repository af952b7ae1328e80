import AjvCompiler from '@fastify/ajv-compiler'
import type { FastifyInstance, FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify'
import { pointerStep } from '../../domain/json-pointer.ts'
import type { FieldError } from '../../errors.ts'
import { FORMAT_MESSAGES, formatsOf } from '../../schemas/formats.ts'

type Validate = ReturnType<FastifySchemaCompiler<unknown>>

const NO_QUERY = { type: 'object', properties: {}, additionalProperties: false }

/**
 * Strict validation: nothing unknown is dropped and no body is coerced; parts of the URL, which are text, are. All
 * failures are reported.
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
  // After the compiler's own, which are laxer.
  const onCreate = (ajv: { addFormat(name: string, format: (text: string) => boolean): unknown }) => {
    for (const [name, format] of Object.entries(formats)) ajv.addFormat(name, format)
  }
  const strict = factory({}, { customOptions: { ...common, coerceTypes: false }, onCreate })
  // 1e400 becomes Infinity, which no bound would be held against if it were not taken for a number.
  const url = { ...common, coerceTypes: 'array', strictNumbers: false } as const
  const coercing = factory({}, { customOptions: url, onCreate })
  // A route that takes no query says so to those who send one.
  app.addHook('onRoute', ({ url: path, schema }) => {
    if (schema !== undefined && path.startsWith('/v1/')) schema.querystring ??= NO_QUERY
  })
  app.setValidatorCompiler((route) => (route.httpPart === 'body' ? withLongNumbers(strict(route)) : coercing(route)))
}

/**
 * A number of more digits than a double holds comes as text, for the sake of amounts (see parseJson). Where it is no amount,
 * the nearest double is meant; only a body that failed is looked at again.
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

/** Whether a failure was about such a text; if so, it is the number now. An amount is a union, which takes the text. */
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

/** Failures at the place of an object that are about a place below it; and a union within a union. */
const TOLD_ELSEWHERE = new Set(['anyOf', 'required', 'additionalProperties'])

/** More than a bulk of 1,000 with several faults each. A body can have half a million, which would be a long answer. */
const FAILURES_TOLD_MAX = 5_000

/**
 * The failures of a validation as pointers and what to do, from the first FAILURES_TOLD_MAX; a union's branches become one
 * line.
 */
export function fieldErrors(all: FastifySchemaValidationError[], httpPart: string | undefined): FieldError[] {
  const failures = all.slice(0, FAILURES_TOLD_MAX)
  const errors = new Map<string, string>()
  for (const failure of failures) {
    // Why a name is none: the failure of the name itself follows, with its place.
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

/** What a union wants; null where what is wrong lies below it, and is told there. */
function unionMessage(failures: FastifySchemaValidationError[], union: FastifySchemaValidationError): string | null {
  const branches = failures.filter(
    ({ instancePath, keyword }) => instancePath === union.instancePath && !TOLD_ELSEWHERE.has(keyword),
  )
  const constants = branches
    .filter(({ keyword }) => keyword === 'const')
    .map(({ params }) => JSON.stringify(params['allowedValue']))
  if (constants.length > 0) return `must be one of ${[...new Set(constants)].join(', ')}`
  const notNull = branches.filter(({ keyword, params }) => !(keyword === 'type' && params['type'] === 'null'))
  const bounds = notNull.filter(({ keyword }) => keyword !== 'type')
  const told = (bounds.length > 0 ? bounds : notNull).map(messageOf)
  return told.length === 0 ? null : [...new Set(told)].join(', or ')
}
