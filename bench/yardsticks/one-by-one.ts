// A yardstick: the same decision by the same function, but in a transaction for each request, on a pool of 16 connections.
import Fastify from 'fastify'
import { openPriceCache } from '../../src/cache/prices.ts'
import { openSharedCache } from '../../src/cache/shared.ts'
import { openClock } from '../../src/db/pool/clock.ts'
import { connect } from '../../src/db/pool/connection.ts'
import { reserveSpend, type ReserveItem } from '../../src/db/reservations/reserve-spend.ts'
import { idempotencyKeyOf } from '../../src/http/idempotency-key.ts'
import { registerValidation } from '../../src/http/plugins/validation.ts'
import { ReserveBody } from '../../src/schemas/reservations.ts'
import { reserve } from '../../src/services/reservations/reserve.ts'

const databaseUrl = process.env['DATABASE_URL'] ?? ''
const db = connect(databaseUrl, { connectionsMax: 16 })
const prices = openPriceCache(
  db,
  openSharedCache(undefined, databaseUrl, () => {}),
)
const deps = {
  db,
  prices,
  clock: await openClock(db),
  queues: {
    emitMissingPrice: () => Promise.reject(new Error('a load names a model without a price')),
    reserve: async (item: ReserveItem) => (await reserveSpend(db, [item], 'enforce', false))[0]!,
  },
}
const principal = { id: 'bench', role: 'service' as const, tenantId: null }

const app = Fastify()
registerValidation(app, { allowEmailIds: false })
app.post<{ Body: ReserveBody }>('/v1/reservations', { schema: { body: ReserveBody } }, async (request, reply) => {
  const key = idempotencyKeyOf(request.headers['idempotency-key'])
  const { body } = await reserve(deps, principal, request.body, key, () => false)
  return reply.code(201).send(body)
})
console.log(`listens on ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
process.on('SIGTERM', () => process.exit(0))
