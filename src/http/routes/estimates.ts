import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { estimate } from '../../services/prices/estimate.ts'
import { EstimateAnswer, EstimateBody } from '../../schemas/estimates.ts'
import { CALLERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function estimateRoutes(app: App, deps: Deps): void {
  app.post(
    '/v1/estimates',
    {
      config: { roles: CALLERS, limit: 'decisions', body: 'text' },
      schema: {
        tags: ['reservations'],
        operationId: 'estimate',
        summary: 'Price a usage, or the most that a call can cost',
        description: 'Reads no quota and holds nothing.',
        body: EstimateBody,
        response: answers({ 200: EstimateAnswer }),
      },
    },
    async (request, reply) => reply.send(await estimate(deps, request.body)),
  )
}
