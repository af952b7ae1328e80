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
        summary: 'List cost records, last recorded first',
        description:
          'To filter by a label, send a parameter with its name: label.feature=chat. ' +
          'If records since `from` are archived, the answer is a 409 that names their months. Without `from`, archived records are left out. ' +
          'The order is by recorded_at, then by cost_record_id, both descending. Records made while you read the pages come before the first page, so you see every other record once.',
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
        summary: 'Record spend that had no reservation: all records or none',
        description:
          'Quotas count the spend but never refuse it. Each record takes the prices and counts in the periods of its occurred_at. ' +
          'Each record has its own idempotency_key: sent again, the same record is answered with replayed true; another record with that key is a 422.',
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
        summary: 'Correct a cost record by two new ones',
        description:
          'The first new record reverses the old one in full; the second holds the real cost. Both count in the periods of the old record, and take the prices of its time. ' +
          'A record can be corrected once. To correct it again, correct the record that replaced it.',
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
