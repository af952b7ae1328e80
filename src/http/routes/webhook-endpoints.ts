import { Type } from 'typebox'
import type { App } from '../app-type.ts'
import type { Deps } from '../../services/deps.ts'
import { listDeliveries, redeliver, testEndpoint } from '../../services/alerts/deliveries.ts'
import {
  createEndpoint,
  deleteEndpoint,
  listEndpoints,
  patchEndpoint,
  readEndpoint,
  rotateSecret,
} from '../../services/alerts/webhook-endpoints.ts'
import { ReasonHeaders } from '../../schemas/audit.ts'
import { Closed, Cursor, Limit, Page, Uuid } from '../../schemas/common.ts'
import {
  DeliveriesQuery,
  Delivery,
  Endpoint,
  EndpointBody,
  EndpointPatch,
  NewEndpoint,
  RotateSecretBody,
} from '../../schemas/webhook-endpoints.ts'
import { actorOf } from '../actor.ts'
import { isUuid, pageAnswer, readCursor } from '../cursor.ts'
import { ADMINS } from '../plugins/auth.ts'
import { answers } from '../problem-responses.ts'

const OVERLAP_SECONDS = 86_400

const EndpointParams = Type.Object({ endpoint_id: Uuid })

export function webhookEndpointRoutes(app: App, deps: Deps): void {
  app.get(
    '/v1/webhook-endpoints',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'listWebhookEndpoints',
        summary: 'List the endpoints that events are delivered to, without secrets',
        querystring: Type.Object({ limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) }, Closed),
        response: answers({ 200: Page(Endpoint) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor } = request.query
      const page = await listEndpoints(deps, readCursor(cursor, isUuid), limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/webhook-endpoints',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'createWebhookEndpoint',
        summary: 'Deliver events by webhook, e-mail or a Slack-compatible hook',
        description:
          'Delivers events from now on, if they have one of the types and, where given, the tenant and the scope. ' +
          'A webhook is signed as in Standard Webhooks; only this answer shows its secret. Each delivery is attempted up to ten times in four days.',
        headers: ReasonHeaders,
        body: EndpointBody,
        response: answers({ 201: NewEndpoint }),
      },
    },
    async (request, reply) => reply.code(201).send(await createEndpoint(deps, actorOf(request), request.body)),
  )

  app.get(
    '/v1/webhook-endpoints/:endpoint_id',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'readWebhookEndpoint',
        summary: 'Read an endpoint, without its secret',
        params: EndpointParams,
        response: answers({ 200: Endpoint }),
      },
    },
    async (request, reply) => reply.send(await readEndpoint(deps, request.params.endpoint_id)),
  )

  app.patch(
    '/v1/webhook-endpoints/:endpoint_id',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'patchWebhookEndpoint',
        summary: 'Change an endpoint, or enable or disable it',
        description:
          'While an endpoint is disabled, no new events are queued for it, and those in its queue wait until it is enabled.',
        params: EndpointParams,
        headers: ReasonHeaders,
        body: EndpointPatch,
        response: answers({ 200: Endpoint }),
      },
    },
    async (request, reply) =>
      reply.send(await patchEndpoint(deps, actorOf(request), request.params.endpoint_id, request.body)),
  )

  app.delete(
    '/v1/webhook-endpoints/:endpoint_id',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'deleteWebhookEndpoint',
        summary: 'Delete an endpoint and its deliveries',
        params: EndpointParams,
        headers: ReasonHeaders,
        response: answers({ 204: Type.Null() }),
      },
    },
    async (request, reply) => {
      await deleteEndpoint(deps, actorOf(request), request.params.endpoint_id)
      return reply.code(204).send()
    },
  )

  app.post(
    '/v1/webhook-endpoints/:endpoint_id/rotate-secret',
    {
      config: { roles: ADMINS, limit: 'admin', optionalBody: true },
      schema: {
        tags: ['events'],
        operationId: 'rotateWebhookSecret',
        summary: 'Give a webhook a new secret, which only this answer shows',
        description:
          'For overlap_seconds, deliveries are signed with both secrets, so that receivers have time to switch.',
        params: EndpointParams,
        headers: ReasonHeaders,
        body: RotateSecretBody,
        response: answers({ 200: NewEndpoint }),
      },
    },
    async (request, reply) =>
      reply.send(
        await rotateSecret(
          deps,
          actorOf(request),
          request.params.endpoint_id,
          request.body.overlap_seconds ?? OVERLAP_SECONDS,
        ),
      ),
  )

  app.post(
    '/v1/webhook-endpoints/:endpoint_id/test',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'testWebhookEndpoint',
        summary: 'Send a test event to an endpoint, in one attempt',
        description: 'Its type is endpoint.test. Within seconds, GET …/deliveries shows how it ended.',
        params: EndpointParams,
        response: answers({ 202: Delivery }),
      },
    },
    async (request, reply) =>
      reply.code(202).send(await testEndpoint(deps, actorOf(request), request.params.endpoint_id)),
  )

  app.get(
    '/v1/webhook-endpoints/:endpoint_id/deliveries',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'listDeliveries',
        summary: 'List the deliveries of an endpoint, last queued first',
        params: EndpointParams,
        querystring: DeliveriesQuery,
        response: answers({ 200: Page(Delivery) }),
      },
    },
    async (request, reply) => {
      const { limit = 100, cursor, status } = request.query
      const after = readCursor(cursor, isUuid)
      const page = await listDeliveries(deps, request.params.endpoint_id, status, after, limit)
      return reply.send(pageAnswer(page))
    },
  )

  app.post(
    '/v1/deliveries/:delivery_id/redeliver',
    {
      config: { roles: ADMINS, limit: 'admin' },
      schema: {
        tags: ['events'],
        operationId: 'redeliver',
        summary: 'Send a delivery again',
        description: 'Whatever its status is. It keeps its webhook-id and gets all its attempts again.',
        params: Type.Object({ delivery_id: Uuid }),
        response: answers({ 202: Delivery }),
      },
    },
    async (request, reply) => reply.code(202).send(await redeliver(deps, actorOf(request), request.params.delivery_id)),
  )
}
