import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { Type } from 'typebox'
import { isObject } from '../../domain/is-object.ts'
import type { App } from '../app-type.ts'
import type { Services } from '../../services/index.ts'
import type { RecordPosition } from '../../db/costs/cost-records.ts'
import type { CostsPosition } from '../../services/costs/costs.ts'
import { Page } from '../../schemas/common.ts'
import { CostExportQuery, CostRecord, CostRecordsQuery, Costs, CostsQuery } from '../../schemas/costs.ts'
import { isMicros, isText, isUuid, makeCursor, readCursor } from '../cursor.ts'
import { READERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function costRoutes(app: App, services: Services): void {
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
      const { data, next } = await services.listCostRecords(request.principal, filter, after, limit)
      return reply.send({ data, next_cursor: next === null ? null : makeCursor(next) })
    },
  )

  app.get(
    '/v1/costs',
    {
      config: { roles: READERS, limit: 'reads', report: true },
      schema: {
        tags: ['costs'],
        operationId: 'readCosts',
        summary: 'Sum up costs, in total and by groups; exact',
        description:
          'The groups sum up to the total, and the total is the sum of the records that GET /v1/cost-records lists for the same filter. ' +
          'from is inclusive, to exclusive; without them, the last 30 days. A label is filtered by a parameter of its name: label.feature=chat. ' +
          'Keys of time are where a bucket begins in time_zone: hour 2026-11-24T13:00:00Z (with the offset where it is not 0), day 2026-11-24, week the date of its Monday, month 2026-11. ' +
          'Groups come in the order of their keys, a page of limit at a time; top gives the dearest only, on one page. ' +
          'compare=previous adds previous_cost_usd, the cost of the span of the same length just before; its records count where they would stand had they occurred one span later.',
        querystring: CostsQuery,
        response: answers({ 200: Costs }),
      },
    },
    async (request, reply) => {
      const { cursor, ...query } = request.query
      const { answer, next } = await services.readCosts(request.principal, query, readCursor(cursor, isCostsPosition))
      return reply.send({ ...answer, next_cursor: next === null ? null : makeCursor(next) })
    },
  )

  app.get(
    '/v1/costs/export',
    {
      config: { roles: READERS, limit: 'reads', report: true },
      schema: {
        tags: ['costs'],
        operationId: 'exportCosts',
        summary: 'Stream records of cost as CSV, JSON lines or FOCUS, one row each',
        description:
          'In the order of occurred_at, then cost_record_id; from is inclusive, to exclusive; without them, the last 30 days. ' +
          'A label is filtered by a parameter of its name: label.feature=chat. With accept-encoding: gzip the answer is compressed. ' +
          'Where the connection breaks, ask again with the same filter and cursor, the cost_record_id (x_CostRecordId) of the last whole row: the rest follows, without a header. ' +
          'An answer that is not whole ends without the end of its transfer.',
        querystring: CostExportQuery,
        response: answers({
          200: {
            description: 'Lines; their form is that of format',
            content: {
              'text/csv': { schema: Type.String({ description: 'csv and focus' }) },
              'application/x-ndjson': { schema: Type.String({ description: 'jsonl: a cost record a line' }) },
            },
          },
        }),
      },
    },
    async (request, reply) => {
      const { contentType, chunks } = await services.exportCosts(request.principal, request.query)
      // One chunk waits at most: a caller that reads slowly makes the database wait, not the memory grow.
      const lines = Readable.from(chunks, { highWaterMark: 1 })
      void reply.type(contentType).header('vary', 'accept-encoding')
      if (!/\bgzip\b(?!;\s*q=0(?:\.0*)?(?:,|$))/i.test(request.headers['accept-encoding'] ?? ''))
        return reply.send(lines)
      const zip = createGzip()
      lines.on('error', (error) => zip.destroy(error))
      zip.on('close', () => lines.destroy())
      return reply.header('content-encoding', 'gzip').send(lines.pipe(zip))
    },
  )
}

function isRecordPosition(value: unknown): value is RecordPosition {
  return isObject(value) && isMicros(value['recordedMicros']) && isUuid(value['recordId'])
}

function isCostsPosition(value: unknown): value is CostsPosition {
  if (!isObject(value)) return false
  const { fromMicros, toMicros, place } = value
  if (!isMicros(fromMicros) || !isMicros(toMicros) || BigInt(fromMicros) > BigInt(toMicros)) return false
  return Array.isArray(place) && place.every((part) => part === null || isText(part))
}
