import type { Random } from './random.ts'

/** The part of JSON Schema that the contract uses. */
export interface Schema {
  type?: string | string[]
  anyOf?: Schema[]
  enum?: unknown[]
  const?: unknown
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  minItems?: number
  minimum?: number
  exclusiveMinimum?: number
  maximum?: number
  exclusiveMaximum?: number
  minProperties?: number
  pattern?: string
  format?: string
  minLength?: number
}

const OPTIONAL_SHARE = 0.3
const LONG = 'x'.repeat(20_000)

/** Numbers as text, because a double cannot hold all of them. */
const NUMBERS = [
  ...['-1', '-0', '0', '0.5', '1e308', '-1e308', '1e999', '1e-320', '0.1e-400', '9007199254740993', '2147483648'],
  ...['9223372036854775808', '123456789012345678901234567890', '0.30000000000000004', '999999999.9999999999999'],
]

const TEXTS = [
  ...[
    '',
    ' ',
    '\u0000',
    'a\u0000b',
    '\ud800',
    'a\udfff',
    '\u2028',
    '\u202e',
    '\u0007\u001b[31m',
    '\ufffd',
    '🦄'.repeat(101),
  ],
  ...['x'.repeat(201), 'x'.repeat(300), LONG, 'NaN', 'Infinity', '-1', '1e3', '0x10', '٣', 'null', 'true', '__proto__'],
  ...[
    "'; drop table reservations; --",
    '%00',
    '%s%n',
    '{{7*7}}',
    '../../etc/passwd',
    'constructor',
    'some.body@example.com',
  ],
  ...['2026-02-30T00:00:00Z', '0000-01-01T00:00:00Z', '9999-12-31T23:59:60Z', '9999-12-31T23:59:59.999999999-14:00'],
  ...[
    '1000-01-01T00:00:00+14:00',
    '+275760-09-13T00:00:00Z',
    '2026-11-24',
    'Europe/Nowhere',
    'posixrules',
    'W10=',
    'e30',
    'bnVsbA',
  ],
  ...[
    'label.x',
    'day,hour',
    'tenant,tenant',
    'label.',
    ',',
    '1/0',
    '(1,2)',
    '{1,2}',
    '"',
    '\\',
    '01980000-0000-7000-8000-00000000000g',
  ],
]

/** A value that a valid request may have in this place. `seen` returns the values under a name in earlier answers. */
export function soundValue(
  schema: Schema,
  name: string,
  random: Random,
  seen: (name: string) => readonly unknown[],
): unknown {
  if (schema.anyOf !== undefined) return soundValue(random.pick(schema.anyOf), name, random, seen)
  if (schema.enum !== undefined) return random.pick(schema.enum)
  if (schema.const !== undefined) return schema.const
  const known = seen(name)
  const type = Array.isArray(schema.type) ? random.pick(schema.type) : schema.type
  if (type !== 'object' && type !== 'array' && type !== 'null' && known.length > 0 && random.next() < 0.8)
    return random.pick(known)
  switch (type) {
    case 'object':
      return soundObject(schema, random, seen)
    case 'array':
      return Array.from({ length: (schema.minItems ?? 0) + random.below(3) }, () =>
        soundValue(schema.items ?? {}, name, random, seen),
      )
    case 'integer':
    case 'number': {
      const least = schema.minimum ?? (schema.exclusiveMinimum ?? -1) + 1
      const most = Math.min(schema.maximum ?? schema.exclusiveMaximum ?? 1e6, least + random.pick([1, 10, 1_000]))
      const value = least + random.next() * (most - least)
      return type === 'integer' ? Math.floor(value) : Number(value.toFixed(3))
    }
    case 'boolean':
      return random.next() < 0.5
    case 'null':
      return null
    default:
      return soundText(schema, random)
  }
}

function soundObject(
  schema: Schema,
  random: Random,
  seen: (name: string) => readonly unknown[],
): Record<string, unknown> {
  const object: Record<string, unknown> = {}
  const { properties = {}, required = [], additionalProperties: more } = schema
  for (const [name, property] of Object.entries(properties)) {
    if (required.includes(name) || random.next() < OPTIONAL_SHARE)
      object[name] = soundValue(property, name, random, seen)
  }
  const names = Object.keys(properties)
  if (Object.keys(object).length < (schema.minProperties ?? 0) && names.length > 0) {
    const name = random.pick(names)
    object[name] = soundValue(properties[name]!, name, random, seen)
  }
  if (more === true || (typeof more === 'object' && random.next() < 0.5)) {
    for (const name of ['input_tokens', 'output_tokens', 'prompt_tokens'].slice(random.below(3)))
      object[name] = more === true ? random.below(1_000) : soundValue(more, name, random, seen)
  }
  return object
}

function soundText({ format, pattern, minLength = 1 }: Schema, random: Random): string {
  if (format === 'uuid') return `01980000-0000-7000-8000-${String(random.below(1e12)).padStart(12, '0')}`
  if (format === 'date-time')
    return `2026-${random.pick(['01', '06', '11'])}-${10 + random.below(18)}T0${random.below(10)}:00:00Z`
  if (format === 'time-zone') return random.pick(['UTC', 'Europe/Dublin', 'Asia/Kathmandu'])
  if (pattern?.includes('[0-9]') && !pattern.includes('[a-z]')) return `${random.below(20)}.${random.below(100)}`
  return random.pick(['a', 'b-2', 'tenant', 'Ünï-4']).padEnd(minLength, 'x')
}

/** A value that is invalid in almost every place. */
export function nastyValue(random: Random): unknown {
  const kind = random.below(10)
  if (kind < 3) return JSON.rawJSON(random.pick(NUMBERS))
  if (kind < 7) return random.pick(TEXTS)
  return random.pick<unknown>([
    null,
    true,
    false,
    [],
    {},
    [[[]]],
    [null],
    { a: { b: {} } },
    Array.from({ length: 1_001 }, () => 0),
    Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`k${n}`, n])),
    JSON.parse('{"__proto__":{"admin":true},"constructor":1}') as unknown,
  ])
}

/** A value as text for a part of a URL. */
export function nastyText(random: Random): string {
  return random.next() < 0.3 ? random.pick(NUMBERS) : random.pick(TEXTS)
}

/** Puts an invalid value in a random place of a JSON value, or removes the value there; returns the changed value. */
export function spoilValue(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || isRaw(value) || random.next() < 0.1) return nastyValue(random)
  const keys = Object.keys(value)
  if (keys.length === 0) return nastyValue(random)
  const key = random.pick(keys)
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>
  if (!Array.isArray(copy) && random.next() < 0.15) delete copy[key]
  else if (!Array.isArray(copy) && random.next() < 0.1) copy[nastyText(random)] = nastyValue(random)
  else copy[key] = random.next() < 0.5 ? nastyValue(random) : spoilValue(copy[key], random)
  return copy
}

/** Bodies of `bytes` bytes that are costly to parse or to validate; `bounded`: a limit on the number of values refuses it. */
export function hostileBodies(bytes: number): { kind: string; body: string; bounded: boolean }[] {
  const many = (text: string, around: string) =>
    around.replace('_', () => text.repeat(bytes / text.length).slice(0, -1))
  const object = (member: (n: number) => string, count: number) =>
    `{${Array.from({ length: count }, (_, n) => member(n)).join()}}`
  // Fewer values would be within the limit of a route with many items.
  const exceedsBulk = bytes >= 500_000
  const bodies: [kind: string, bounded: boolean, body: string][] = [
    ['opened lists', true, '['.repeat(bytes)],
    ['opened objects', true, '{"a":'.repeat(bytes / 5)],
    ['nested lists', true, `${'['.repeat(bytes / 2)}${']'.repeat(bytes / 2)}`],
    ['empty lists', true, many('[],', '[_]')],
    ['empty objects', true, many('{},', '{"records":[_]}')],
    ['lists of empty lists', exceedsBulk, many(`[${'[],'.repeat(900)}[]],`, '{"quotas":[_]}')],
    ['lists of numbers', exceedsBulk, many(`[${'0,'.repeat(900)}0],`, '[_]')],
    ['long numbers', true, many('0.12345678901234567,', '{"records":[_]}')],
    ['lists of long numbers', exceedsBulk, many(`[${'-1234567890.1234567,'.repeat(90)}0],`, '{"records":[_]}')],
    ['one long number', true, `{"limit_usd":0.${'1'.repeat(bytes)}}`],
    ['one long exponent', true, `{"limit_usd":1e${'1'.repeat(bytes)}}`],
    ['names', true, object((n) => `"k${n}":1`, bytes / 12)],
    ['one long text', false, JSON.stringify({ tenant_id: 'x'.repeat(bytes) })],
    ['one long address', false, JSON.stringify({ user_id: 'x@'.repeat(bytes / 2) })],
    ['escapes', false, `{"tenant_id":"${'\\u0000'.repeat(bytes / 6)}"}`],
    ['one long name', false, `{"${'x'.repeat(bytes)}":1}`],
    ['blanks', false, `${' '.repeat(bytes)}{`],
    ['a text without an end', false, `{"tenant_id":"${'['.repeat(bytes)}`],
  ]
  return bodies.map(([kind, bounded, body]) => ({ kind, bounded, body }))
}

const FIRST_MICROS = '-62135596800000000'
const LAST_MICROS = '253402300799000000'
const PLACES_IN_CURSORS = [
  ...[FIRST_MICROS, LAST_MICROS],
  ...['', '0', '-1', '9'.repeat(17), `-${'9'.repeat(17)}`, '9'.repeat(18), `-${'9'.repeat(18)}`, '9'.repeat(40), '1e3'],
  ...[
    'a\u0000b',
    '\ud800',
    'x'.repeat(300),
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
  ],
  ...[null, true, {}, [], ['a'], { a: 1 }, 0, -1, 0.5, 1, 9_007_199_254_740_991, -9_007_199_254_740_991, 1e300],
]
const CURSOR_SHAPES: ((place: unknown) => unknown)[] = [
  (place) => place,
  (recordedMicros) => ({ recordedMicros, recordId: '01980000-0000-7000-8000-000000000000' }),
  (recordId) => ({ recordedMicros: '0', recordId }),
  (fromMicros) => ({ fromMicros, toMicros: LAST_MICROS, place: ['a'] }),
  (toMicros) => ({ fromMicros: '0', toMicros, place: ['a'] }),
  (place) => ({ fromMicros: '0', toMicros: '1', place }),
  (place) => ({ fromMicros: '0', toMicros: '1', place: [place] }),
  (place) => ({ fromMicros: '0', toMicros: '1', place: [place, place] }),
]

/** Cursors that no list has made: every known shape, with a bad value in each place where Postgres or the reader may fail. */
export function forgedCursors(): string[] {
  const json = CURSOR_SHAPES.flatMap((shape) => PLACES_IN_CURSORS.map((place) => JSON.stringify(shape(place))))
  const encoded = [...json, '{', 'x', '\u0000', '"\\u0000"'].map((text) => Buffer.from(text).toString('base64url'))
  return [...encoded, '%', '_', 'ÿ', 'null', Buffer.from([0xff, 0xfe]).toString('base64url')].filter(
    (cursor) => cursor.length <= CURSOR_CHARACTERS_MAX,
  )
}

/** A longer cursor is refused without being read. */
const CURSOR_CHARACTERS_MAX = 500

/** Whether the value is a number given as text by JSON.rawJSON. */
export function isRaw(value: object): boolean {
  return 'rawJSON' in value && Object.isFrozen(value)
}
