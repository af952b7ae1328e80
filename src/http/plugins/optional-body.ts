import type { FastifyInstance } from 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A request without a body is taken as one with an empty object. */
    optionalBody?: true
  }
}

/** Lets bodies be left out where routes say so; answers the ids of their operations, as they come. Register before the routes. */
export function registerOptionalBody(app: FastifyInstance): ReadonlySet<string> {
  const operationIds = new Set<string>()
  app.addHook('onRoute', (route) => {
    if (route.config?.optionalBody === undefined) return
    if (route.schema?.operationId !== undefined) operationIds.add(route.schema.operationId)
    route.preValidation = async (request) => {
      request.body ??= {}
    }
  })
  return operationIds
}
