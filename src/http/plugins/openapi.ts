import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'

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
          'The cost and quota authority for calls of language models and for sandboxes: reserve, commit, release.',
      },
      security: [{ key: [] }],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'An API key, or a JWT where the operator has set that up',
          },
        },
      },
      tags: [
        { name: 'reservations', description: 'Hold money before a request, book it afterwards' },
        { name: 'costs', description: 'What was spent' },
        { name: 'quotas', description: 'What may be spent' },
        { name: 'events', description: 'What somebody should know of' },
        { name: 'pricing', description: 'What a token, a search or a second costs, since when and until when' },
        { name: 'keys', description: 'Who may call' },
        { name: 'audit', description: 'What administrators changed' },
        { name: 'operations', description: 'Whether the service is well' },
      ],
    },
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject
      for (const path of Object.values(document.openapiObject.paths ?? {})) {
        const { operationId, requestBody } = path?.post ?? {}
        // The package takes every body to be required.
        if (optionalBodies.has(operationId ?? '') && requestBody && 'required' in requestBody)
          requestBody.required = false
      }
      return document.openapiObject
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, i) => (typeof json['$id'] === 'string' ? json['$id'] : `def-${i}`),
    },
  })
  await app.register(swaggerUi, { routePrefix: '/docs', uiConfig: { deepLinking: true }, staticCSP: true })
  app.get('/openapi.yaml', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .type('application/yaml; charset=utf-8')
      .serializer((text: string) => text)
      .send(app.swagger({ yaml: true })),
  )
}
