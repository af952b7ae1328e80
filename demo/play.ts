import { ApiError, type Call } from './api.ts'
import type { Step } from './step.ts'
import type { Tenant } from './tenants.ts'

/** The result of a step. Amounts are decimal text, as the service answered them. */
export type Outcome = { tenantId: string; step: Step } & (
  | { end: 'refused'; requestedUsd: string; detail: string }
  | { end: 'left open'; heldUsd: string }
  | { end: 'released' }
  | { end: 'committed'; costRecordId: string; costUsd: string; overrun: boolean }
)

/**
 * Sets the quotas of a tenant. They have the period `total`, so that midnight changes no figure. The daily quotas
 * that each new tenant gets by default only count.
 */
export async function giveQuotas(admin: Call, tenantId: string, { limitUsd }: Tenant): Promise<void> {
  for (const resourceType of ['llm', 'e2b'] as const) {
    const quota = {
      resource_type: resourceType,
      scope: 'tenant',
      tenant_id: tenantId,
      limit_usd: limitUsd[resourceType],
    }
    await admin('PUT', '/v1/quotas', { body: { ...quota, period: 'total' } })
    await admin('PUT', '/v1/quotas', { body: { ...quota, period: 'day', enforcement: 'off' } })
  }
}

/** Plays the steps of a tenant one after the other, so that every run refuses the same ones. */
export async function playSteps(
  call: Call,
  tenantId: string,
  steps: readonly Step[],
  onStep: () => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const [index, step] of steps.entries()) {
    outcomes.push({ tenantId, step, ...(await playStep(call, tenantId, step, `${tenantId}-${index}`)) })
    onStep()
  }
  return outcomes
}

async function playStep(call: Call, tenantId: string, step: Step, idempotencyKey: string) {
  const reserved = await reserve(call, { tenant_id: tenantId, ...step.reserve }, idempotencyKey)
  if ('requestedUsd' in reserved) return { end: 'refused', ...reserved } as const
  if (step.next === 'leave open') return { end: 'left open', heldUsd: reserved.reserved_usd } as const
  const path = `/v1/reservations/${reserved.reservation_id}`
  if ('release' in step.next) {
    await call('POST', `${path}/release`, { body: step.next.release })
    return { end: 'released' } as const
  }
  const committed = await call<{ cost_record_id: string; cost_usd: string; overrun_usd: string }>(
    'POST',
    `${path}/commit`,
    { body: step.next.commit },
  )
  return {
    end: 'committed',
    costRecordId: committed.cost_record_id,
    costUsd: committed.cost_usd,
    overrun: committed.overrun_usd !== '0',
  } as const
}

type Reserved = { reservation_id: string; reserved_usd: string } | { requestedUsd: string; detail: string }

async function reserve(call: Call, body: object, idempotencyKey: string): Promise<Reserved> {
  try {
    return await call('POST', '/v1/reservations', { body, headers: { 'idempotency-key': idempotencyKey } })
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'quota_exceeded') throw error
    return { requestedUsd: String(error.body['requested_usd']), detail: String(error.body['detail']) }
  }
}
