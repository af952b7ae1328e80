import { writeAudit, type Actor } from '../../db/keys/audit.ts'
import { change } from '../../db/pool/change.ts'
import type { DatabaseClock } from '../../db/pool/clock.ts'
import type { Db } from '../../db/pool/connection.ts'
import {
  addSecret,
  countEndpoints,
  deleteEndpoint as removeEndpoint,
  findEndpoint,
  insertEndpoint,
  listEndpoints as readEndpoints,
  lockEndpoint,
  updateEndpoint,
  type EndpointKind,
  type EndpointSettings,
  type StoredEndpoint,
} from '../../db/alerts/webhook-endpoints.ts'
import type { Targets } from '../../delivery/targets.ts'
import { makeSecret } from '../../delivery/webhook.ts'
import { invalidRequest, Problem, type FieldError } from '../../errors.ts'
import type { EndpointBody, EndpointPatch } from '../../schemas/webhook-endpoints.ts'
import { timeText } from '../answers.ts'
import { pageOf, type PageOf } from '../page.ts'

export type EndpointDeps = {
  db: Db
  clock: DatabaseClock
  targets: Targets
  /** Whether a mail server is configured. */
  hasMail: boolean
}

/** Each endpoint has its own attempts in flight, so this also bounds the number of sockets. */
const ENDPOINTS_MAX = 100

/** Creates an endpoint. Only this answer has a webhook's secret. @throws invalidRequest; unavailable. */
export async function createEndpoint(deps: EndpointDeps, actor: Actor, body: EndpointBody): Promise<object> {
  const settings: EndpointSettings = {
    url: body.url ?? null,
    recipients: body.to ?? null,
    types: body.types,
    tenant_id: body.tenant_id ?? null,
    scope: body.scope ?? null,
    enabled: body.enabled ?? true,
  }
  checkTarget(deps, body.kind, settings)
  const id = deps.clock.newId()
  const secret = body.kind === 'webhook' ? makeSecret() : null
  const made = await change(deps.db, actor, async (transaction) => {
    if ((await countEndpoints(transaction)) >= ENDPOINTS_MAX) {
      const message = `would be one too many: there are ${ENDPOINTS_MAX} endpoints; delete one first`
      throw invalidRequest([{ pointer: '', message }])
    }
    const stored = await insertEndpoint(transaction, { endpoint_id: id, kind: body.kind, ...settings })
    if (secret !== null) await addSecret(transaction, id, secret, 0)
    await audit(transaction, 'create', id, null, stored)
    return stored
  })
  return { ...endpointAnswer(made), ...(secret === null ? {} : { secret }) }
}

/** Changes the given settings of an endpoint. @throws not_found; invalidRequest; unavailable. */
export async function patchEndpoint(
  deps: EndpointDeps,
  actor: Actor,
  id: string,
  { to, ...patch }: EndpointPatch,
): Promise<object> {
  return change(deps.db, actor, async (transaction) => {
    const before = await locked(transaction, id)
    const settings = { ...before, ...patch, ...(to === undefined ? {} : { recipients: to }) }
    checkTarget(deps, before.kind, settings)
    const after = await updateEndpoint(transaction, id, settings)
    await audit(transaction, 'update', id, before, after)
    return endpointAnswer(after)
  })
}

/** Deletes an endpoint and its deliveries. @throws not_found; unavailable. */
export async function deleteEndpoint({ db }: EndpointDeps, actor: Actor, id: string): Promise<void> {
  await change(db, actor, async (transaction) => {
    const before = await locked(transaction, id)
    await removeEndpoint(transaction, id)
    await audit(transaction, 'delete', id, before, null)
  })
}

/**
 * Gives a webhook a new secret. For the overlap in seconds, deliveries are signed with both. Only this answer has the secret.
 *
 * @throws not_found; invalidRequest if the endpoint is not a webhook; unavailable.
 */
export async function rotateSecret(
  { db }: EndpointDeps,
  actor: Actor,
  id: string,
  overlapSeconds: number,
): Promise<object> {
  const secret = makeSecret()
  return change(db, actor, async (transaction) => {
    const endpoint = await locked(transaction, id)
    if (endpoint.kind !== 'webhook') {
      throw invalidRequest([{ pointer: 'endpoint_id', message: `is of kind ${endpoint.kind}, which has no secret` }])
    }
    await addSecret(transaction, id, secret, overlapSeconds)
    await audit(transaction, 'rotate_secret', id, endpoint, endpoint)
    return { ...endpointAnswer(endpoint), secret }
  })
}

/** Reads an endpoint without its secret. @throws not_found */
export async function readEndpoint({ db }: EndpointDeps, id: string): Promise<object> {
  const endpoint = await findEndpoint(db, id)
  if (endpoint === null) throw noEndpoint(id)
  return endpointAnswer(endpoint)
}

/** Lists endpoints in the order of their creation, without their secrets. */
export async function listEndpoints(
  { db }: EndpointDeps,
  afterId: string | null,
  limit: number,
): Promise<PageOf<string>> {
  const endpoints = await readEndpoints(db, afterId, limit + 1)
  return pageOf(endpoints, limit, endpointAnswer, ({ endpoint_id: id }) => id)
}

export function noEndpoint(id: string): Problem {
  return new Problem('not_found', `There is no endpoint ${id}`)
}

async function locked(transaction: Db, id: string): Promise<StoredEndpoint> {
  const endpoint = await lockEndpoint(transaction, id)
  if (endpoint === null) throw noEndpoint(id)
  return endpoint
}

/** Checks that the target fits the kind of endpoint and that sending to it is allowed. @throws invalidRequest */
function checkTarget(
  { targets, hasMail }: EndpointDeps,
  kind: EndpointKind,
  { url, recipients }: EndpointSettings,
): void {
  const errors: FieldError[] = []
  if (kind === 'email') {
    if (recipients === null) errors.push({ pointer: '/to', message: 'is required for kind email' })
    if (url !== null) errors.push({ pointer: '/url', message: 'cannot be combined with kind email' })
    if (!hasMail)
      errors.push({ pointer: '/kind', message: 'email needs the settings PURSER_SMTP_URL and PURSER_MAIL_FROM' })
  } else {
    if (recipients !== null) errors.push({ pointer: '/to', message: `cannot be combined with kind ${kind}` })
    const message = url === null ? `is required for kind ${kind}` : targets.complaint(url)
    if (message !== null) errors.push({ pointer: '/url', message })
  }
  if (errors.length > 0) throw invalidRequest(errors)
}

function endpointAnswer(stored: StoredEndpoint) {
  return {
    endpoint_id: stored.endpoint_id,
    kind: stored.kind,
    ...(stored.url === null ? {} : { url: stored.url }),
    ...(stored.recipients === null ? {} : { to: stored.recipients }),
    types: stored.types,
    tenant_id: stored.tenant_id,
    scope: stored.scope,
    enabled: stored.enabled,
    created_at: timeText(stored.created_at),
    updated_at: timeText(stored.updated_at),
  }
}

type EndpointAction = 'create' | 'update' | 'delete' | 'rotate_secret'

async function audit(
  transaction: Db,
  action: EndpointAction,
  id: string,
  before: StoredEndpoint | null,
  after: StoredEndpoint | null,
): Promise<void> {
  await writeAudit(transaction, {
    action: `webhook_endpoint.${action}`,
    subject: `webhook_endpoint:${id}`,
    before: before === null ? null : auditedEndpoint(before),
    after: after === null ? null : auditedEndpoint(after),
  })
}

/** Leaves path and query of the URL out of the audit log: the path of a Slack hook is its secret, and queries often hold one. */
function auditedEndpoint(stored: StoredEndpoint): object {
  const answer = endpointAnswer(stored)
  if (stored.url === null) return answer
  const { origin, pathname } = new URL(stored.url)
  return { ...answer, url: stored.kind === 'slack' ? `${origin}/…` : origin + pathname }
}
