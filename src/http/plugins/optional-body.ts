import type { FastifyInstance } from 'fastify'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A request without a body counts as one with an empty object. */
    optionalBody?: true
  }
}

/**
 * Makes the body optional on routes with `optionalBody`. Returns the set of their operation ids, which fills as routes are
 * registered. Register before the routes.
 */
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
