// The container files, judged without an engine: the compose file by the Compose Specification's own schema.

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import t from 'tap'
import { parse } from 'yaml'
import { startArguments } from '../helpers/servers/start-arguments.ts'

const root = join(import.meta.dirname, '..', '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')

interface Service {
  image?: string
  build?: { context: string }
  command?: string[]
  depends_on?: Record<string, { condition: string }>
  environment?: Record<string, string | null>
  healthcheck?: { disable?: boolean }
  ports?: string[]
  privileged?: boolean
  read_only?: boolean
  security_opt?: string[]
  volumes?: string[]
}
interface Compose {
  services: Record<string, Service>
  volumes: Record<string, null>
}

const composeText = read('docker-compose.yml')
const compose = parse(composeText) as Compose
const dockerfile = read('Dockerfile')
const packageJson = JSON.parse(read('package.json')) as {
  version: string
  scripts: Record<string, string>
  devDependencies: Record<string, string>
}

/** Every setting of the service whose name begins with PURSER_, without that. */
const settings = `
  DATA_DIR ADMIN_KEY ADMIN_KEY_FILE ENFORCEMENT DEFAULT_LLM_USD_PER_DAY DEFAULT_E2B_USD_PER_DAY
  JWT_ISSUER JWT_AUDIENCE JWT_JWKS_URL JWT_SECRET JWT_SECRET_FILE ALLOW_EMAIL_IDS SMTP_URL SMTP_URL_FILE MAIL_FROM
  RETENTION_DAYS ARCHIVE_YEARS ARCHIVE_DIR WEBHOOK_PRIVATE_TARGETS TRUSTED_PROXIES METRIC_PREFIX PRICE_FEED
  RATE_LIMIT_DECISIONS RATE_LIMIT_READS RATE_LIMIT_ADMIN
`.match(/\S+/g)

t.test('the compose file is valid by the schema of the Compose Specification', async (t) => {
  const path = join(dirname(fileURLToPath(import.meta.resolve('dclint/package.json'))), 'schemas/compose.schema.json')
  const schema = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  // It names draft 07 by https, which the validator knows by http only.
  delete schema['$schema']
  const validate = new Ajv({ allErrors: true, strict: false, validateFormats: false }).compile(schema)

  t.equal(validate(compose), true, 'valid', { errors: validate.errors })
  t.equal(validate({ services: { purser: { imagee: 'purser' } } }), false, 'an unknown key is refused')
  t.equal(validate({ services: { purser: { read_only: 'perhaps' }, other: { ports: {} } } }), false, 'so is a bad type')
})

t.test('every PURSER_* name in the container files is a setting', async (t) => {
  const names = new Set([...`${composeText}\n${dockerfile}`.matchAll(/\bPURSER_[A-Z0-9_]+/g)].map(([name]) => name))
  t.ok(names.size > 5, 'some are used')
  t.same(
    [...names].filter((name) => !settings?.includes(name.replace('PURSER_', ''))),
    [],
  )
})

t.test('image versions are pinned, and are those that the project is tested with', async (t) => {
  for (const [name, { image, build }] of Object.entries(compose.services)) {
    t.match(image, /^[a-z/]+:\d+\.\d+[a-z0-9.-]*$/, `${name} names a version`)
    if (build) t.equal(image, `purser:${packageJson.version}`, `${name} is tagged with the version of package.json`)
  }
  const node = /^ARG NODE_IMAGE=node:(\S+)-bookworm-slim$/m.exec(dockerfile)?.[1]
  t.equal(node, packageJson.devDependencies['node'], 'the Node of the image is the one that the tests run on')
  t.notMatch(dockerfile, /^FROM (?!\$\{NODE_IMAGE\})/m, 'both stages are that image')
})

t.test('secrets have no default: without them compose refuses to start', async (t) => {
  for (const name of ['POSTGRES_PASSWORD', 'PURSER_ADMIN_KEY']) {
    const uses = [...composeText.matchAll(new RegExp(`\\$\\{${name}([^}]*)\\}`, 'g'))].map(([, rest]) => rest)
    t.ok(uses.length > 0, `${name} is used`)
    t.ok(
      uses.every((rest) => rest?.startsWith(':?')),
      `${name} is required wherever it is used`,
    )
  }
})

t.test('each service waits for what it needs, has a health check, and can write to its volumes only', async (t) => {
  for (const [name, service] of Object.entries(compose.services)) {
    t.equal(service.read_only, true, `${name} has a read-only root`)
    t.ok(service.security_opt?.includes('no-new-privileges:true'), `${name} can't gain privileges`)
    t.not(service.privileged, true)
    t.ok(service.healthcheck ?? dockerfile.includes('\nHEALTHCHECK '), `${name} says how it is`)
    for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
      const there = compose.services[other]
      t.ok(there, `${name} waits for ${other}, which exists`)
      t.equal(condition, there?.healthcheck?.disable ? 'service_completed_successfully' : 'service_healthy')
    }
    for (const volume of service.volumes ?? []) t.ok((volume.split(':')[0] ?? '') in compose.volumes, volume)
    for (const port of service.ports ?? []) t.match(port, /^127\.0\.0\.1:/, 'published to this host only')
  }
  t.same(Object.keys(compose.services['purser']?.depends_on ?? {}).toSorted(), ['migrate', 'postgres', 'redis'])
})

t.test('the image starts as `npm start` does, and not as root', async (t) => {
  const lines = dockerfile.split('\n')
  const command = lines.find((line) => line.startsWith('CMD '))?.slice('CMD '.length) ?? '[]'
  t.same(JSON.parse(command), ['node', ...startArguments])
  t.match(lines.filter((line) => line.startsWith('USER ')).at(-1), /^USER [1-9]\d*:[1-9]\d*$/)
  t.ok(lines.includes('STOPSIGNAL SIGTERM'))
})

t.test('what the Dockerfile copies, .dockerignore lets in, and nothing else', async (t) => {
  const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources = '']) =>
    sources.split(' '),
  )
  const ignore = read('.dockerignore').split('\n')
  t.ok(ignore.includes('*'), 'all is ignored but')
  t.same(
    ignore
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))
      .toSorted(),
    [...new Set(copied)].toSorted(),
  )
})
