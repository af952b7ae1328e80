import { ERROR_HELP, ERRORS, type ErrorCode } from '../errors.ts'
import { EXAMPLES, PARAMETER_EXAMPLES, type OperationExamples } from '../schemas/examples/index.ts'
import { REFUSALS } from './problem-responses.ts'

type Node = Record<string, unknown>
type Parameter = { name: string; in: string; example?: unknown }
type Media = { schema: Node; example?: unknown; examples?: unknown }
type Response = { description: string; content?: Record<string, Media> } | { $ref: string }
type Operation = {
  operationId: string
  security?: unknown[]
  parameters?: Parameter[]
  requestBody?: { required: boolean; content: Record<string, Media> }
  responses: Record<string, Response>
}
type Paths = Record<string, Record<string, Operation>>

const SCHEMAS = '#/components/schemas/'
const RESPONSES = '#/components/responses/'

/**
 * Makes the published document from the one that @fastify/swagger generates. Each schema with a title becomes a component
 * with that name, each refusal becomes a response by its status, and each operation gets its examples.
 *
 * Validation is not affected: it uses the schemas of the routes as they are.
 *
 * @param optionalBodies the ids of the operations whose body may be left out.
 * @throws Error if two different schemas have the same title, or an operation has no examples.
 */
export function publish<Document extends { paths?: object; components?: object }>(
  generated: Document,
  optionalBodies: ReadonlySet<string>,
): Document {
  const schemas = new Map<string, Node>()
  const responses = new Map<string, Node>()
  const paths = nameSchemas(generated.paths, schemas) as Paths
  for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods))) {
    // @fastify/swagger marks every body as required.
    if (operation.requestBody && optionalBodies.has(operation.operationId)) operation.requestBody.required = false
    addProblems(operation, responses)
    const examples = EXAMPLES[operation.operationId]
    if (examples === undefined) throw new Error(`${operation.operationId} has no examples`)
    addExamples(operation, examples)
  }
  const components = { ...generated.components, responses: sorted(responses), schemas: sorted(schemas) }
  // Through JSON, because YAML would write an object that occurs twice as an alias.
  return JSON.parse(JSON.stringify({ ...generated, components, paths })) as Document
}

/** Copies the value with a reference in place of each schema that has a title. Adds those schemas to `named`. */
function nameSchemas(value: unknown, named: Map<string, Node>): unknown {
  if (Array.isArray(value)) return value.map((item) => nameSchemas(item, named))
  if (typeof value !== 'object' || value === null) return value
  const copy: Node = Object.fromEntries(Object.entries(value).map(([key, of]) => [key, nameSchemas(of, named)]))
  const { title, description, $comment, ...rest } = plainUnion(copy)
  // Not a string: the properties of a schema, one of which is called title.
  if (typeof title !== 'string') return plainUnion(copy)
  // about() puts the schema's own description into the comment, and the description of this field in its place.
  remember(named, title, { description: $comment ?? description, ...rest })
  const reference = { $ref: SCHEMAS + title }
  return $comment === undefined ? reference : { ...reference, description }
}

/** @throws Error if a different schema has the same title. */
function remember(named: Map<string, Node>, title: string, { description, ...schema }: Node): void {
  const { description: known, ...same } = named.get(title) ?? schema
  if (JSON.stringify(schema) !== JSON.stringify(same)) throw new Error(`two different schemas are called ${title}`)
  // @fastify/swagger removes the description from the schema of a parameter.
  const words = known || description
  named.set(title, { ...(words ? { description: words } : {}), ...schema })
}

/** Turns a union of constants into one enum, and a union with null into a list of types: generators handle these best. */
function plainUnion(schema: Node): Node {
  const { anyOf, ...rest } = schema
  if (!Array.isArray(anyOf)) return schema
  const branches = anyOf as Node[]
  if (branches.every(({ type, enum: values }) => type === 'string' && Array.isArray(values)))
    return { ...rest, type: 'string', enum: branches.flatMap((branch) => branch['enum'] as string[]) }
  const [branch, nothing] = branches
  if (branches.length !== 2 || nothing?.['type'] !== 'null' || branch === undefined) return schema
  const { description, ...described } = branch
  const words = rest['description'] ?? description
  const moved = words === undefined ? rest : { ...rest, description: words }
  if (typeof described['type'] === 'string' && described['enum'] === undefined)
    return { ...moved, ...described, type: [described['type'], 'null'] }
  return { ...moved, anyOf: [described, nothing] }
}

/** Adds the problems that follow from the key, path and body of the operation, and those that REFUSALS lists for it. */
function addProblems(operation: Operation, responses: Map<string, Node>): void {
  const { operationId, security, parameters = [], requestBody } = operation
  const needsKey = security === undefined
  const codes: ErrorCode[] = [
    ...(needsKey ? (['invalid_request', 'unauthenticated', 'forbidden', 'rate_limited'] as const) : []),
    ...(needsKey ? (['unavailable', 'overloaded'] as const) : []),
    ...(parameters.some((parameter) => parameter.in === 'path') ? (['not_found'] as const) : []),
    ...(requestBody === undefined ? [] : (['payload_too_large', 'unsupported_media_type'] as const)),
    ...(REFUSALS[operationId] ?? []),
  ]
  for (const [status, ofStatus] of Object.entries(Object.groupBy(codes, (code) => ERRORS[code].status))) {
    if (operation.responses[status] !== undefined) continue
    const name = [...new Set(ofStatus)].map(pascal).join('Or')
    responses.set(name, {
      description: ofStatus.map((code) => `\`${code}\`: ${ERROR_HELP[code]}`).join(' '),
      content: { 'application/problem+json': { schema: { $ref: `${SCHEMAS}Problem` } } },
    })
    operation.responses[status] = { $ref: RESPONSES + name }
  }
  for (const [status, name, words] of [
    ['4XX', 'Refused', 'Any other refusal. Its `code` says why, and `/problems/{code}` what to do.'],
    [
      '5XX',
      'Failed',
      'The service failed or cannot decide now. Its `code` says why, and `/problems/{code}` what to do.',
    ],
  ] as const) {
    responses.set(name, { ...operation.responses[status], description: words })
    delete operation.responses[status]
    operation.responses[status] = { $ref: RESPONSES + name }
  }
}

const pascal = (code: string) => code.replace(/(?:^|_)([a-z])/g, (_match, letter: string) => letter.toUpperCase())

function addExamples(operation: Operation, examples: OperationExamples): void {
  for (const parameter of operation.parameters ?? []) {
    const example = examples.parameters?.[parameter.name] ?? PARAMETER_EXAMPLES[parameter.name]
    if (example !== undefined) parameter.example = example
  }
  for (const media of Object.values(operation.requestBody?.content ?? {}))
    Object.assign(media, mediaExamples(examples.bodies))
  for (const [status, { means, value, lines }] of Object.entries(examples.answers)) {
    const response = operation.responses[status]
    if (response === undefined || '$ref' in response) throw new Error(`${operation.operationId} answers no ${status}`)
    response.description = means
    for (const [type, media] of Object.entries(response.content ?? {})) media.example = lines?.[type] ?? value
  }
}

/** A single example has no name in the document; several have theirs. */
function mediaExamples(bodies: OperationExamples['bodies'] = {}): object {
  const [first, ...more] = Object.values(bodies)
  return more.length === 0
    ? { example: first }
    : { examples: Object.fromEntries(Object.entries(bodies).map(([name, value]) => [name, { value }])) }
}

function sorted(named: Map<string, Node>): Node {
  return Object.fromEntries([...named].sort(([a], [b]) => (a < b ? -1 : 1)))
}
