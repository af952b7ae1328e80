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
        summary: 'Record spend that had no reservation, all records or none',
        description:
          'Counted against quotas and never refused for them. Each record is priced at its occurred_at and counts in the periods of then. ' +
          'It has its own idempotency_key: the same record again answers the first one as replayed, another record with that key is 422. ' +
          'occurred_at may be up to 5 minutes ahead; more than 90 days ago only with an admin key, and then no quota counts it.',
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
        .send(await services.correct(request.principal, actorOf(request), request.params.cost_record_id, request.body)),
  )
}
