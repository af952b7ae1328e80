import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { Type, type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'

const Usd = (fallback: string) => Type.String({ pattern: '^[0-9]{1,9}(\\.[0-9]{1,12})?$', default: fallback })
const PerMinute = (fallback: number) => Type.Integer({ minimum: 1, maximum: 100_000_000, default: fallback })

/** The environment as one schema. A default that depends on the machine is set where it is used. */
export const ConfigSchema = Type.Object({
  HOST: Type.String({ minLength: 1, default: '127.0.0.1' }),
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8080 }),
  DATABASE_URL: Type.Optional(Type.String({ pattern: '^postgres(ql)?://' })),
  PURSER_DATA_DIR: Type.Optional(Type.String({ minLength: 1 })),
  REDIS_URL: Type.Optional(Type.String({ pattern: '^rediss?://[^,]+(, *rediss?://[^,]+)*$' })),
  // Only characters that an Authorization header can hold.
  PURSER_ADMIN_KEY: Type.Optional(Type.String({ minLength: 24, maxLength: 512, pattern: '^[!-~]*$' })),
  PURSER_ENFORCEMENT: Type.Union([Type.Literal('enforce'), Type.Literal('warn'), Type.Literal('off')], {
    default: 'enforce',
  }),
  PURSER_DEFAULT_LLM_USD_PER_DAY: Usd('50'),
  PURSER_DEFAULT_E2B_USD_PER_DAY: Usd('10'),
  PURSER_JWT_ISSUER: Type.Optional(Type.String({ minLength: 1 })),
  PURSER_JWT_AUDIENCE: Type.Optional(Type.String({ minLength: 1 })),
  PURSER_JWT_JWKS_URL: Type.Optional(Type.String({ pattern: '^https?://' })),
  PURSER_JWT_SECRET: Type.Optional(Type.String({ minLength: 32 })),
  PURSER_JWT_TENANT_CLAIM: Type.String({ minLength: 1, default: 'tenant_id,app_metadata.tenant_id' }),
  PURSER_JWT_ROLE_CLAIM: Type.String({ minLength: 1, default: 'app_metadata.role,role' }),
  // At least 35 days, so that every open period, except a total one, lies within the days that are kept.
  PURSER_RETENTION_DAYS: Type.Integer({ minimum: 35, maximum: 36_500, default: 90 }),
  PURSER_ARCHIVE_YEARS: Type.Integer({ minimum: 1, maximum: 100, default: 7 }),
  PURSER_ARCHIVE_DIR: Type.Optional(Type.String({ minLength: 1 })),
  // Not below 7: an idempotency key is remembered for 7 days.
  PURSER_RESERVATION_DAYS: Type.Integer({ minimum: 7, maximum: 36_500, default: 30 }),
  PURSER_EVENT_DAYS: Type.Integer({ minimum: 7, maximum: 36_500, default: 90 }),
  PURSER_ALLOW_EMAIL_IDS: Type.Union([Type.Literal('0'), Type.Literal('1')], { default: '0' }),
  PURSER_RATE_LIMIT_DECISIONS: PerMinute(600_000),
  PURSER_RATE_LIMIT_READS: PerMinute(6_000),
  PURSER_RATE_LIMIT_ADMIN: PerMinute(1_200),
  PURSER_SMTP_URL: Type.Optional(Type.String({ pattern: '^smtps?://' })),
  PURSER_MAIL_FROM: Type.Optional(
    Type.String({ pattern: '^[^\\s@<>]+@[^\\s@<>]+$|^[^<>@"]+<[^\\s@<>]+@[^\\s@<>]+>$' }),
  ),
  PURSER_WEBHOOK_PRIVATE_TARGETS: Type.Optional(Type.String({ minLength: 1 })),
  PURSER_PRICE_FEED: Type.Optional(Type.String({ minLength: 1 })),
  // Not used yet, but a deployment that sets it must start.
  PURSER_METRIC_PREFIX: Type.String({ pattern: '^[a-z][a-z0-9_]*$', default: 'regintel' }),
  PURSER_TRUSTED_PROXIES: Type.Optional(Type.String({ minLength: 1 })),
  LOG_LEVEL: Type.Union(
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'].map((level) => Type.Literal(level)),
    { default: 'info' },
  ),
})

export type Config = Static<typeof ConfigSchema>
export type Enforcement = Config['PURSER_ENFORCEMENT']

/** Wrong settings, one line each. The service does not start with them. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads the settings from an environment. A name that ends in `_FILE` gives the file that holds the value.
 *
 * @throws ConfigError with a line for each unknown `PURSER_*` name and each bad value.
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const names = Object.keys(ConfigSchema.properties)
  const problems: string[] = []
  const found: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || value === '') continue
    const plain = name.replace(/_FILE$/, '')
    if (names.includes(name)) found[name] = value
    else if (plain !== name && names.includes(plain)) {
      try {
        found[plain] = readSetting(environment, plain)
      } catch (error) {
        problems.push((error as ConfigError).message)
      }
    } else if (name.startsWith('PURSER_')) problems.push(`${name} is not a setting of Purser`)
  }
  for (const [name, schema] of Object.entries<TSchema>(ConfigSchema.properties)) {
    if (Type.IsInteger(schema)) found[name] = wholeNumber(found[name])
  }
  const config = Value.Default(ConfigSchema, found) as Record<string, unknown>
  for (const [name, schema] of Object.entries<TSchema>(ConfigSchema.properties)) {
    const wrong = config[name] === undefined ? null : complaint(schema, config[name])
    if (wrong !== null) problems.push(`${name} ${wrong}`)
  }
  for (const [name, names] of NETWORK_LISTS) {
    const networks = ((config[name] ?? '') as string).split(',').map((one) => one.trim())
    for (const network of networks.filter((one) => one !== '' && !names.includes(one) && !isNetwork(one)))
      problems.push(`${name} must list IP addresses and networks as 10.0.0.0/8, not ${network}`)
  }
  if ((config['PURSER_SMTP_URL'] === undefined) !== (config['PURSER_MAIL_FROM'] === undefined))
    problems.push(
      'PURSER_SMTP_URL and PURSER_MAIL_FROM are needed both, or none of them: mail has a server and a sender',
    )
  if (Number(config['PURSER_RESERVATION_DAYS']) > Number(config['PURSER_RETENTION_DAYS']))
    problems.push(
      'PURSER_RESERVATION_DAYS must not be above PURSER_RETENTION_DAYS: a reservation goes before its records',
    )
  const { PURSER_JWT_SECRET: secret, PURSER_JWT_JWKS_URL: jwksUrl } = config
  if (secret !== undefined && jwksUrl !== undefined)
    problems.push('PURSER_JWT_SECRET and PURSER_JWT_JWKS_URL are both set: keep the one by which tokens are signed')
  if (secret === undefined && jwksUrl === undefined && (config['PURSER_JWT_ISSUER'] ?? config['PURSER_JWT_AUDIENCE']))
    problems.push('PURSER_JWT_ISSUER and PURSER_JWT_AUDIENCE need PURSER_JWT_JWKS_URL or PURSER_JWT_SECRET beside them')
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
  return Value.Parse(ConfigSchema, config)
}

/**
 * Reads one setting as text: from the environment, or from the file that `<name>_FILE` names.
 *
 * @throws ConfigError when both are set, or the file cannot be read.
 */
export function readSetting(environment: Record<string, string | undefined>, name: string): string | undefined {
  const file = environment[`${name}_FILE`]
  if (!file) return environment[name] || undefined
  if (environment[name]) throw new ConfigError(`${name}_FILE and ${name} are both set: keep one of them`)
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    throw new ConfigError(`${name}_FILE: the file ${file} cannot be read`)
  }
}

/** Turns digits into a number. Anything else stays as it is and fails validation: 1.5, 0x5a and true are mistakes. */
function wholeNumber(text: unknown): unknown {
  return typeof text === 'string' && /^-?\d{1,15}$/.test(text) ? Number(text) : text
}

/** What is wrong with a value. Never shows the value, which may be a secret. */
function complaint(schema: TSchema, value: unknown): string | null {
  const [error] = Value.Errors(schema, value)
  if (error === undefined) return null
  const choices = 'anyOf' in schema ? (schema.anyOf as { const: string }[]) : null
  return choices === null ? error.message : `must be one of ${choices.map((choice) => choice.const).join(', ')}`
}

/** Settings that hold a list of networks, each with the network names that it accepts. The names are Fastify's. */
const NETWORK_LISTS: [name: string, names: string[]][] = [
  ['PURSER_TRUSTED_PROXIES', ['loopback', 'linklocal', 'uniquelocal']],
  ['PURSER_WEBHOOK_PRIVATE_TARGETS', []],
]

/** An address, or a network by its prefix length. */
function isNetwork(text: string): boolean {
  const [address = '', bits, more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more !== undefined) return false
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128))
  )
}

/** The values that no log may show. */
export function secretsOf(config: Config): (string | undefined)[] {
  const passwordOf = (url: string | undefined) =>
    URL.canParse(url ?? '') ? decodeURIComponent(new URL(url!).password) : undefined
  return [
    config.PURSER_ADMIN_KEY,
    config.PURSER_JWT_SECRET,
    passwordOf(config.DATABASE_URL),
    ...(config.REDIS_URL ?? '').split(',').map((url) => passwordOf(url.trim())),
    passwordOf(config.PURSER_SMTP_URL),
  ]
}

/** How tokens are checked; null when neither a secret nor a key set is set. */
export function tokenSettings(config: Config) {
  const { PURSER_JWT_SECRET: secret, PURSER_JWT_JWKS_URL: jwksUrl } = config
  if (secret === undefined && jwksUrl === undefined) return null
  const paths = (text: string) => text.split(',').map((path) => path.trim())
  return {
    secret,
    jwksUrl,
    issuer: config.PURSER_JWT_ISSUER,
    audience: config.PURSER_JWT_AUDIENCE,
    tenantClaims: paths(config.PURSER_JWT_TENANT_CLAIM),
    roleClaims: paths(config.PURSER_JWT_ROLE_CLAIM),
    allowEmailIds: config.PURSER_ALLOW_EMAIL_IDS === '1',
  }
}
