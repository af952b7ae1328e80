import type { App } from '../app-type.ts'
import type { Services } from '../../services/index.ts'
import { CorrectAnswer, CorrectBody, RecordParams, RecordsAnswer, RecordsBody } from '../../schemas/records.ts'
import { actorOf } from '../actor.ts'
import { ADMINS, CALLERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function costRecordRoutes(app: App, services: Services): void {
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
    async (request, reply) => reply.code(201).send(await services.record(request.principal, request.body)),
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
        .send(await services.correct(request.principal, actorOf(request), request.params.cost_record_id, request.body)),
  )
}
