import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { readiness } from '../../services/readiness.ts'
import { ERROR_HELP, ERRORS, Problem, type ErrorCode } from '../../errors.ts'
import { answers } from '../problem-responses.ts'

const Checks = Type.Object(
  {
    status: Type.String(),
    checks: Type.Object({ postgres: Type.String(), migrations: Type.String(), redis: Type.String() }),
  },
  { title: 'ReadinessAnswer' },
)

export function operationRoutes(app: App, deps: Deps): void {
  app.get(
    '/healthz',
    {
      schema: {
        tags: ['operations'],
        operationId: 'health',
        summary: 'Tell whether the process answers',
        security: [],
        response: answers({ 200: Type.Object({ status: Type.String() }, { title: 'HealthAnswer' }) }),
      },
    },
    async (_request, reply) => reply.send({ status: 'ok' }),
  )

  app.get(
    '/readyz',
    {
      schema: {
        tags: ['operations'],
        operationId: 'readiness',
        summary: 'Tell whether the service can decide',
        description: 'It can if Postgres is in reach and migrated. Without Redis it can still decide.',
        security: [],
        response: answers({ 200: Checks, 503: Checks }),
      },
    },
    async (_request, reply) => {
      const { ready, checks } = await readiness({ db: deps.settlementDb, shared: deps.shared })
      if (!ready) reply.header('retry-after', '1')
      return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'unready', checks })
    },
  )

  app.get(
    '/problems/:code',
    {
      schema: {
        tags: ['operations'],
        operationId: 'problem',
        summary: 'Explain a problem and what to do about it',
        security: [],
        params: Type.Object({ code: Type.String({ maxLength: 100 }) }),
        response: answers({
          200: Type.Object(
            {
              type: Type.String(),
              title: Type.String(),
              status: Type.Integer(),
              description: Type.String(),
            },
            { title: 'ProblemHelp' },
          ),
        }),
      },
    },
    async (request, reply) => {
      const code = request.params.code.replaceAll('-', '_')
      if (!Object.hasOwn(ERRORS, code)) throw new Problem('not_found', `There is no problem ${request.params.code}`)
      const known = code as ErrorCode
      return reply.send({
        type: `/problems/${known.replaceAll('_', '-')}`,
        ...ERRORS[known],
        description: ERROR_HELP[known],
      })
    },
  )
}
