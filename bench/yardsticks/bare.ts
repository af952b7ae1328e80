// A yardstick: a Fastify route that validates the same body, looks up the key's SHA-256 in a map, and answers.
import Fastify from 'fastify'
import { hash } from 'node:crypto'
import { registerValidation } from '../../src/http/plugins/validation.ts'
import { ReserveBody } from '../../src/schemas/reservations.ts'

const keys = new Map([[hash('sha256', process.env['BENCH_KEY'] ?? '', 'hex'), 'bench']])

const app = Fastify()
registerValidation(app, { allowEmailIds: false })
app.post('/v1/reservations', { schema: { body: ReserveBody } }, async (request, reply) => {
  const key = request.headers.authorization?.slice('Bearer '.length) ?? ''
  if (!keys.has(hash('sha256', key, 'hex'))) return reply.code(401).send()
  return reply.code(201).send({ reservation_id: '0199', status: 'reserved' })
})
console.log(`listens on ${await app.listen({ host: '127.0.0.1', port: 0 })}`)
process.on('SIGTERM', () => process.exit(0))
