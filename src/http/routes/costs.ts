import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { Type } from 'typebox'
import { isObject } from '../../domain/is-object.ts'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { readCosts } from '../../services/costs/costs.ts'
import { exportCosts } from '../../services/costs/export-costs.ts'
import type { CostsPosition } from '../../services/costs/costs.ts'
import { CostExportQuery, Costs, CostsQuery } from '../../schemas/costs.ts'
import { isMicros, isText, makeCursor, readCursor } from '../cursor.ts'
import { READERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function costRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/costs',
    {
      config: { roles: READERS, limit: 'reads', report: true },
      schema: {
        tags: ['costs'],
        operationId: 'readCosts',
        summary: 'Sum up costs exactly, in total and by group',
        description:
          'The groups add up to the total, and the total is the sum of the records that GET /v1/cost-records lists for the same filter. ' +
          'Without `from` and `to`, the last 30 days count. To filter by a label, send a parameter with its name: label.feature=chat. ' +
          'The key of a time group is when it starts in time_zone: hour 2026-11-24T13:00:00Z (with the offset if it is not 0), day 2026-11-24, week the date of its Monday, month 2026-11. ' +
          'Groups are ordered by their keys, in pages of `limit`. `top` answers only the most expensive ones, on one page. ' +
          'compare=previous adds previous_cost_usd: the cost of the span of the same length just before. Each record of that span counts in the group that it would be in one span later.',
        querystring: CostsQuery,
        response: answers({ 200: Costs }),
      },
    },
    async (request, reply) => {
      const { cursor, ...query } = request.query
      const { answer, next } = await readCosts(deps, request.principal, query, readCursor(cursor, isCostsPosition))
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
        summary: 'Stream cost records as CSV, JSON lines or FOCUS',
        description:
          'One row for each record, ordered by occurred_at, then by cost_record_id. Without `from` and `to`, the last 30 days. ' +
          'To filter by a label, send a parameter with its name: label.feature=chat. With accept-encoding: gzip the answer is compressed. ' +
          'If the export fails midway, the connection closes without the final chunk; treat the file as incomplete. To resume, send the same filter and, as `cursor`, the cost_record_id (x_CostRecordId) of the last whole row: the rows after it follow, without a header.',
        querystring: CostExportQuery,
        response: answers({
          200: {
            description: 'The rows, in the form that format names.',
            content: {
              'text/csv': { schema: Type.String({ description: 'For csv and focus.' }) },
              'application/x-ndjson': { schema: Type.String({ description: 'For jsonl: one CostRecord a line.' }) },
            },
          },
        }),
      },
    },
    async (request, reply) => {
      const { contentType, chunks } = await exportCosts(deps, request.principal, request.query)
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

function isCostsPosition(value: unknown): value is CostsPosition {
  if (!isObject(value)) return false
  const { fromMicros, toMicros, place } = value
  if (!isMicros(fromMicros) || !isMicros(toMicros) || BigInt(fromMicros) > BigInt(toMicros)) return false
  return Array.isArray(place) && place.every((part) => part === null || isText(part))
}
