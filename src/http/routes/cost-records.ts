import { isObject } from '../../domain/is-object.ts'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import type { RecordPosition } from '../../db/costs/cost-records.ts'
import { listCostRecords } from '../../services/costs/cost-records.ts'
import { correct } from '../../services/costs/correct.ts'
import { record } from '../../services/costs/record.ts'
import { Page } from '../../schemas/common.ts'
import { CostRecord, CostRecordsQuery } from '../../schemas/costs.ts'
import { CorrectAnswer, CorrectBody, RecordParams, RecordsAnswer, RecordsBody } from '../../schemas/records.ts'
import { actorOf } from '../actor.ts'
import { ADMINS, CALLERS, READERS } from '../plugins/auth.ts'
import { isMicros, isUuid, pageAnswer, readCursor } from '../cursor.ts'
import { answers } from '../problem-responses.ts'

export function costRecordRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/cost-records',
    {
      config: { roles: READERS, limit: 'reads', report: true },
      schema: {
        tags: ['costs'],
        operationId: 'listCostRecords',
        summary: 'List records of cost, the last recorded first',
        description:
          'A label is filtered by a parameter of its name: label.feature=chat. from (inclusive) and to (exclusive) bound occurred_at. ' +
          'Where records since from are archived, the answer is a 409 that names their months; without from, it lists what is here. ' +
          'The order is recorded_at, then cost_record_id, both descending: what is recorded while you walk over the pages stands before the first one, so that you see every other record once.',
        querystring: CostRecordsQuery,
        response: answers({ 200: Page(CostRecord) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, ...filter } = request.query
      const after = readCursor(cursor, isRecordPosition)
      const page = await listCostRecords(deps, request.principal, filter, after, limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/cost-records',
    {
      config: { roles: CALLERS, limit: 'decisions', body: 'bulk' },
      schema: {
        tags: ['costs'],
        operationId: 'record',
        summary: 'Record spend that had no reservation, all records or none',
        description:
          'Counted against quotas and never refused for them. Each record is priced at its occurred_at and counts in the periods of then. ' +
          'It has its own idempotency_key: the same record again answers the first one as replayed, another record with that key is 422. ' +
          'occurred_at may be up to 5 minutes ahead; more than 90 days ago only with an admin key, and then no quota counts it.',
        body: RecordsBody,
        response: answers({ 201: RecordsAnswer }),
      },
    },
    async (request, reply) => reply.code(201).send(await record(deps, request.principal, request.body)),
  )

  app.post(
    '/v1/cost-records/:cost_record_id/correct',
    {
      config: { roles: ADMINS, limit: 'admin', body: 'usage' },
      schema: {
        tags: ['costs'],
        operationId: 'correct',
        summary: 'Correct a record by two new ones: its full reversal, and the real cost',
        description:
          'Both count in the periods of the corrected record, and tokens or seconds are priced at its moment. With cost_usd its quantities stay as they were. ' +
          'A record is corrected once; after that its successor can be.',
        params: RecordParams,
        body: CorrectBody,
        response: answers({ 201: CorrectAnswer }),
      },
    },
    async (request, reply) =>
      reply
        .code(201)
        .send(await correct(deps, request.principal, actorOf(request), request.params.cost_record_id, request.body)),
  )
}

function isRecordPosition(value: unknown): value is RecordPosition {
  return isObject(value) && isMicros(value['recordedMicros']) && isUuid(value['recordId'])
}
