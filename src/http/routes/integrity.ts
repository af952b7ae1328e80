import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { integrityReader } from '../../services/integrity.ts'
import { Integrity } from '../../schemas/integrity.ts'
import { READERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

export function integrityRoutes(app: App, { maintenanceDb }: Deps): void {
  const readIntegrity = integrityReader({ db: maintenanceDb })

  app.get(
    '/v1/integrity',
    {
      config: { roles: READERS, limit: 'admin', report: true },
      schema: {
        tags: ['operations'],
        operationId: 'readIntegrity',
        summary: 'Check the books: list every invariant that does not hold',
        description:
          'Reads every reservation, balance and record, which takes minutes if there are many millions. Only for keys that are not bound to a tenant. If the books are broken, the answer is a 200 with healthy false; docs/operations.md says what to do.',
        response: answers({ 200: Integrity }),
      },
    },
    async (request, reply) => {
      // Nothing moves on the connection while the check reads, which may take longer than idle connections live.
      request.socket.setTimeout(0)
      return reply.send(await readIntegrity(request.principal))
    },
  )
}
