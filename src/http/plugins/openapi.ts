import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { publish } from '../openapi-document.ts'

/**
 * The contract, from the schemas of the routes: /openapi.yaml and, for people, /docs. Register before the routes.
 *
 * @param optionalBodies the ids of the operations whose body may be left out.
 */
export async function registerOpenApi(
  app: FastifyInstance,
  version: string,
  optionalBodies: ReadonlySet<string>,
): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Purser',
        version,
        description:
          'Decides whether a call of a language model or a sandbox may spend money, and records what it cost: reserve, do the work, then commit or release.',
      },
      security: [{ key: [] }],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'An API key, or a JWT if the operator has configured that.',
          },
        },
      },
      tags: [
        { name: 'reservations', description: 'Hold money before the work, and book the cost after it.' },
        { name: 'costs', description: 'What was spent.' },
        { name: 'quotas', description: 'How much may be spent.' },
        { name: 'events', description: 'What happened, and how people are notified.' },
        { name: 'pricing', description: 'What a token, a search or a second costs, and when.' },
        { name: 'keys', description: 'Who may call this API.' },
        { name: 'audit', description: 'What administrators changed.' },
        { name: 'operations', description: 'Whether the service works.' },
      ],
    },
    transformObject: (document) =>
      'openapiObject' in document ? publish(document.openapiObject, optionalBodies) : document.swaggerObject,
  })
  await app.register(swaggerUi, { routePrefix: '/docs', uiConfig: { deepLinking: true }, staticCSP: true })
  app.get('/openapi.yaml', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .type('application/yaml; charset=utf-8')
      .serializer((text: string) => text)
      .send(app.swagger({ yaml: true })),
  )
}
