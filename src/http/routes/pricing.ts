import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { syncPrices } from '../../services/prices/price-sync.ts'
import { listE2bPrices, listModelPrices, publishE2bPrice, publishModelPrice } from '../../services/prices/pricing.ts'
import { ReasonHeaders } from '../../schemas/audit.ts'
import { Page } from '../../schemas/common.ts'
import {
  E2bPriceBody,
  E2bPricesQuery,
  E2bPriceVersion,
  ModelPriceBody,
  ModelPricesQuery,
  ModelPriceVersion,
  SyncAnswer,
  SyncBody,
} from '../../schemas/pricing.ts'
import { actorOf } from '../actor.ts'
import { isRowNumber, pageAnswer, readCursor } from '../cursor.ts'
import { ADMINS, READERS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

const LIST_DESCRIPTION =
  '`at` selects the versions in force at that time; `status` is as of now. A superseded version is not listed, but costs that it priced keep it.'
const ADD_DESCRIPTION =
  'Rates are never edited. A version ends the one before it, and lasts until the next one starts. If there is a version ' +
  'with the same effective_date, the answer is a 409, unless `replaces` names it. A replaced version is kept but no longer in force.'

export function pricingRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/pricing/models',
    {
      config: { roles: READERS, limit: 'reads' },
      schema: {
        tags: ['pricing'],
        operationId: 'listModelPrices',
        summary: 'List the prices of models, ordered by provider, model and date',
        description: `${LIST_DESCRIPTION} \`model\` may be an alias.`,
        querystring: ModelPricesQuery,
        response: answers({ 200: Page(ModelPriceVersion) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, ...query } = request.query
      const page = await listModelPrices(deps, query, readCursor(cursor, isRowNumber), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/pricing/models',
    {
      config: { roles: ADMINS, limit: 'admin', body: 'bulk' },
      schema: {
        tags: ['pricing'],
        operationId: 'publishModelPrice',
        summary: 'Publish a price of a model, for now, the future or the past',
        description: ADD_DESCRIPTION,
        headers: ReasonHeaders,
        body: ModelPriceBody,
        response: answers({ 201: ModelPriceVersion }),
      },
    },
    async (request, reply) => reply.code(201).send(await publishModelPrice(deps, actorOf(request), request.body)),
  )

  app.get(
    '/v1/pricing/e2b',
    {
      config: { roles: READERS, limit: 'reads' },
      schema: {
        tags: ['pricing'],
        operationId: 'listSandboxPrices',
        summary: 'List the prices of sandboxes, ordered by tier, region and date',
        description: LIST_DESCRIPTION,
        querystring: E2bPricesQuery,
        response: answers({ 200: Page(E2bPriceVersion) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, ...query } = request.query
      const page = await listE2bPrices(deps, query, readCursor(cursor, isRowNumber), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/pricing/e2b',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['pricing'],
        operationId: 'publishSandboxPrice',
        summary: 'Publish a price of a sandbox tier in a region',
        description: `${ADD_DESCRIPTION} Without vcpu and memory_mib, the tier keeps its size.`,
        headers: ReasonHeaders,
        body: E2bPriceBody,
        response: answers({ 201: E2bPriceVersion }),
      },
    },
    async (request, reply) => reply.code(201).send(await publishE2bPrice(deps, actorOf(request), request.body)),
  )

  app.post(
    '/v1/pricing/sync',
    {
      config: { roles: ADMINS, limit: 'admin', report: true },
      schema: {
        tags: ['pricing'],
        operationId: 'syncPrices',
        summary: 'Publish the prices on which the sources agree',
        description:
          'Compares the package, the feed and the overlay with a second source. A change counts from its date, or from now on if it has none. ' +
          'Disagreements and changes that look wrong are listed but not published; decide on them with POST /v1/pricing/models. If the feed is out of reach, the package is used alone, and `sources` says so.',
        headers: ReasonHeaders,
        body: SyncBody,
        response: answers({ 200: SyncAnswer }),
      },
    },
    async (request, reply) => reply.send(await syncPrices(deps, actorOf(request), request.body)),
  )
}
