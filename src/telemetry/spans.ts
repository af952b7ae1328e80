import type * as Api from '@opentelemetry/api'
import { databaseProblem } from '../db/pool/faults.ts'
import { ERRORS, Problem } from '../errors.ts'
import { ATTRIBUTES, ERROR_ATTRIBUTES, STAGE_OF, type Attributes, type SpanName } from './names.ts'

/** What the work of a span tells about it as it goes. */
export type WorkSpan = { set(attributes: Attributes): void; rename(name: SpanName): void }

type Tracing = { api: typeof Api; tracer: Api.Tracer }

// Only types are imported: until the API is handed over nothing of OpenTelemetry is loaded, and a span is a comparison.
let tracing: Tracing | null = null
const NO_SPAN: WorkSpan = { set() {}, rename() {} }

/** In whose context an item came that waits for a batch. */
const contexts = new WeakMap<object, Api.Context>()

/** From here on there are spans. */
export function useTracing(api: typeof Api, version: string): void {
  tracing = { api, tracer: api.trace.getTracer('purser', version) }
}

/** Does the work in a span of its own. An error marks the span and is thrown on. Free where nothing is traced. */
export function inSpan<Result>(
  name: SpanName,
  attributes: Attributes,
  work: (span: WorkSpan) => Promise<Result>,
): Promise<Result> {
  if (tracing === null) return work(NO_SPAN)
  const { api, tracer } = tracing
  return tracer.startActiveSpan(name, { attributes: written(attributes) }, async (span) => {
    try {
      return await work({
        set: (more) => span.setAttributes(written(more)),
        rename: (better) => span.updateName(better),
      })
    } catch (error) {
      const problem = databaseProblem(error)
      const code = problem instanceof Problem ? problem.code : 'internal'
      span.setStatus({ code: api.SpanStatusCode.ERROR, message: code })
      span.setAttributes({
        [ERROR_ATTRIBUTES.stage]: STAGE_OF[name],
        [ERROR_ATTRIBUTES.type]: errorType(code),
        [ERROR_ATTRIBUTES.recoverable]: problem instanceof Problem && 'retry-after' in problem.headers,
      })
      throw error
    } finally {
      span.end()
    }
  })
}

/** Remembers whose an item is that is going to wait for a batch. Free where nothing is traced. */
export function joinBatch<Item extends object>(item: Item): Item {
  if (tracing !== null) contexts.set(item, tracing.api.context.active())
  return item
}

/**
 * Does the work of a batch, one statement for many requests, in the span of the first item that is recorded. The spans of
 * the others link to that one: each request keeps its own trace, and leads to the statement. Free where nothing is traced.
 */
export function inBatch<Answer>(items: object[], work: () => Promise<Answer>): Promise<Answer> {
  if (tracing === null) return work()
  const { context, trace, ROOT_CONTEXT } = tracing.api
  const recorded = items.flatMap((item) => {
    const own = contexts.get(item)
    const span = own === undefined ? undefined : trace.getSpan(own)
    return own !== undefined && span?.isRecording() ? [{ own, span }] : []
  })
  const [first, ...others] = recorded
  first?.span.setAttribute(ATTRIBUTES.batchItems, items.length)
  for (const { span } of others) span.addLink({ context: first!.span.spanContext() })
  // Never the context that is active here: it is that of the request which woke the queue, answered long ago perhaps.
  return context.with(first?.own ?? ROOT_CONTEXT, work)
}

function written(attributes: Attributes): Api.Attributes {
  const all: Api.Attributes = {}
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue
    all[ATTRIBUTES[name as keyof Attributes]] = name.endsWith('Usd') ? Number(value) : value
  }
  return all
}

/** The error types of the first system: what the caller got wrong is validation, what we did is api_error. */
function errorType(code: keyof typeof ERRORS): 'quota_exceeded' | 'validation' | 'api_error' {
  if (code === 'quota_exceeded') return code
  return ERRORS[code].status < 500 ? 'validation' : 'api_error'
}
