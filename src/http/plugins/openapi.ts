import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'

/** The contract, from the schemas of the routes: /openapi.yaml and, for people, /docs. Register before the routes. */
export async function registerOpenApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Purser',
        version,
        description:
          'The cost and quota authority for calls of language models and for sandboxes: reserve, commit, release.',
      },
      security: [{ key: [] }],
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'An API key' } } },
      tags: [
        { name: 'reservations', description: 'Hold money before a request, book it afterwards' },
        { name: 'costs', description: 'What was spent' },
        { name: 'quotas', description: 'What may be spent' },
        { name: 'events', description: 'What somebody should know of' },
        { name: 'keys', description: 'Who may call' },
        { name: 'audit', description: 'What administrators changed' },
        { name: 'operations', description: 'Whether the service is well' },
      ],
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, i) => (typeof json['$id'] === 'string' ? json['$id'] : `def-${i}`),
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs', uiConfig: { deepLinking: true } })
  app.get('/openapi.yaml', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .type('application/yaml; charset=utf-8')
      .serializer((text: string) => text)
      .send(app.swagger({ yaml: true })),
  )
}
