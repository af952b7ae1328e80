// Which layer of src/ may import which. Arrows point downward only; a layer may always import its own files.
// `types`: layers of which only types may be imported. Read by `npm run check -- layers`.
const leaves = ['domain', 'errors']
const services = [...leaves, 'schemas', 'db', 'cache', 'prices', 'delivery', 'exports', 'telemetry']
const app = [...services, 'config', 'http', 'services', 'jobs']

/** @type {Record<string, { imports: string[]; types?: string[] }>} */
const layers = {
  errors: { imports: [] },
  domain: { imports: [] },
  config: { imports: leaves },
  schemas: { imports: leaves },
  db: { imports: leaves },
  cache: { imports: [...leaves, 'db'] },
  prices: { imports: [...leaves, 'db'] },
  delivery: { imports: leaves },
  exports: { imports: leaves },
  telemetry: { imports: ['errors', 'db'], types: ['config'] },
  embedded: { imports: ['errors'], types: ['config'] },
  services: { imports: services, types: ['config'] },
  http: { imports: [...leaves, 'schemas', 'services', 'db', 'telemetry'], types: ['config', 'cache'] },
  jobs: { imports: [...leaves, 'services', 'telemetry'], types: ['config', 'db'] },
  cli: { imports: [...leaves, 'services', 'config', 'db', 'embedded', 'prices', 'app'] },
  app: { imports: app },
  server: { imports: [...app, 'app', 'embedded'] },
  client: { imports: [] },
}

/** Packages that only some layers may name, by the folder of the package. */
const packages = {
  postgres: { names: 'pg|pg-[^/]+|kysely|@types/pg', layers: ['db', 'embedded'] },
  redis: { names: 'ioredis', layers: ['cache'] },
  opentelemetry: { names: '@opentelemetry', layers: ['telemetry'] },
}

const pathOf = (...names) => `^src/(${names.join('|')})(/|\\.ts$)`
const packagePath = (names) => `(^|node_modules/)(${names})(/|$)`

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    ...Object.entries(layers).flatMap(([layer, { imports, types = [] }]) => [
      {
        name: `${layer}-imports`,
        severity: 'error',
        comment: `${layer} may import ${[...imports, ...types.map((name) => `types of ${name}`)].join(', ') || 'nothing of ours'}.`,
        from: { path: pathOf(layer) },
        to: { path: '^(src|test|bench|demo)/', pathNot: pathOf(layer, ...imports, ...types) },
      },
      ...types.map((name) => ({
        name: `${layer}-types-of-${name}`,
        severity: 'error',
        comment: `${layer} may import types of ${name} only.`,
        from: { path: pathOf(layer) },
        to: { path: pathOf(name), dependencyTypesNot: ['type-only'] },
      })),
    ]),
    ...Object.entries(packages).map(([name, { names, layers: allowed }]) => ({
      name: `only-${allowed.join('-and-')}-names-${name}`,
      severity: 'error',
      from: { path: '^src/', pathNot: pathOf(...allowed) },
      to: { path: packagePath(names) },
    })),
    {
      name: 'domain-does-no-input-or-output',
      severity: 'error',
      from: { path: pathOf('domain') },
      to: { path: `^(node:)?(fs|net|http|https|child_process|dns|tls|worker_threads)(/|$)|${packagePath('fastify')}` },
    },
    {
      name: 'client-imports-no-package',
      severity: 'error',
      from: { path: pathOf('client') },
      to: { pathNot: pathOf('client') },
    },
    {
      name: 'no-circles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'every-folder-is-a-layer',
      severity: 'error',
      comment: 'Add the folder to `layers`.',
      from: { path: '^src/', pathNot: pathOf(...Object.keys(layers)) },
      to: {},
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.js', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
}
