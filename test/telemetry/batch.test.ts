import * as api from '@opentelemetry/api'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { EventEmitter, on } from 'node:events'
import t from 'tap'
import { groupCommit } from '../../src/db/pool/group-commit.ts'
import { inBatch, inSpan, joinBatch, useTracing } from '../../src/telemetry/spans.ts'

interface EndedSpan {
  name: string
  spanContext(): api.SpanContext
  parentSpanContext?: api.SpanContext
  links: { context: api.SpanContext }[]
  attributes: api.Attributes
}

const ended: EndedSpan[] = []
const sdk = new NodeSDK({
  autoDetectResources: false,
  metricReaders: [],
  logRecordProcessors: [],
  spanProcessors: [
    {
      onStart: () => {},
      onEnd: (span: EndedSpan) => void ended.push(span),
      forceFlush: async () => {},
      shutdown: async () => {},
    },
  ],
})
sdk.start()
t.teardown(() => sdk.shutdown())
useTracing(api, 'test')

interface Item {
  name: string
}

/** A queue whose batches wait until the test releases them, and then make one span, as a statement does. */
function openQueue() {
  const batches: string[][] = []
  const gates = new EventEmitter()
  const begins = on(gates, 'begin')
  const decide = groupCommit<Item, string>({
    run: (items) =>
      inBatch(items, async () => {
        const names = items.map(({ name }) => name)
        batches.push(names)
        await new Promise<void>((letGo) => gates.emit('begin', letGo))
        api.trace.getTracer('test').startSpan('statement').end()
        return names
      }),
    keyOf: () => null,
  })
  return {
    batches,
    decide: (item: Item) => decide(joinBatch(item)),
    /** Waits for the next batch to begin. Returns the function that releases it. */
    begun: async (): Promise<() => void> => (await begins.next()).value![0],
  }
}

/** Decides in its own span. Returns the span that was active at the end. */
const request = (decide: (item: Item) => Promise<string>, name: string) =>
  inSpan('llm.quota.check', { tenantId: name }, async () => {
    await decide({ name })
    return api.trace.getActiveSpan()?.spanContext().spanId
  })

const spanOf = (name: string) => ended.find(({ attributes }) => attributes['regintel.tenant.id'] === name)!
const idOf = (name: string) => spanOf(name).spanContext().spanId
const statements = () => ended.filter(({ name }) => name === 'statement')

t.beforeEach(() => {
  ended.length = 0
})

t.test(
  'a batch is a child of its first traced item, whichever request started the queue; others link to it',
  async (t) => {
    const queue = openQueue()
    const first = request(queue.decide, 'first')
    const letFirstGo = await queue.begun()
    const untraced = queue.decide({ name: 'untraced' })
    const second = request(queue.decide, 'second')
    const third = request(queue.decide, 'third')
    letFirstGo()
    const letSecondGo = await queue.begun()
    letSecondGo()
    t.equal(await untraced, 'untraced')
    t.same([await first, await second, await third], [idOf('first'), idOf('second'), idOf('third')])
    t.same(queue.batches, [['first'], ['untraced', 'second', 'third']])
    t.same(
      statements().map(({ parentSpanContext }) => parentSpanContext?.spanId),
      [idOf('first'), idOf('second')],
    )
    t.same(
      ['first', 'second', 'third'].map((name) => spanOf(name).links.map(({ context }) => context.spanId)),
      [[], [], [idOf('second')]],
    )
    t.equal(spanOf('second').attributes['regintel.batch.items'], 3)
    t.equal(new Set(['first', 'second', 'third'].map((name) => spanOf(name).spanContext().traceId)).size, 3)
  },
)

t.test('a batch without a traced item has no parent span', async (t) => {
  const queue = openQueue()
  const first = request(queue.decide, 'first')
  const letFirstGo = await queue.begun()
  const untraced = queue.decide({ name: 'untraced' })
  letFirstGo()
  const letSecondGo = await queue.begun()
  letSecondGo()
  await Promise.all([first, untraced])
  t.same(
    statements().map(({ parentSpanContext }) => parentSpanContext?.spanId),
    [idOf('first'), undefined],
  )
})

t.test('a span shows the same database error as its answer', async (t) => {
  const lost = Object.assign(new Error('gone'), { code: 'ECONNREFUSED' })
  await t.rejects(
    inSpan('llm.quota.check', {}, () => Promise.reject(lost)),
    lost,
  )
  t.match(ended.at(-1), { status: { message: 'unavailable' }, attributes: { 'error.recoverable': true } })
})
