import { CSV_TYPES, csvLines } from './csv.ts'
import type { ExportForm, ExportRow } from '../domain/export-row.ts'

/** A cost record in terms of FOCUS 1.2, with two columns of 1.3. Null is an empty field. */
type Charge = {
  row: ExportRow
  /** Whether the record corrects another one, or is its reversal. */
  isCorrection: boolean
  issuer: string
  service: string
  quantity: { amount: string; unit: string }
}

const COLUMNS: Record<string, (charge: Charge) => string | null> = {
  BilledCost: ({ row }) => row.cost_usd,
  BillingAccountId: () => 'purser',
  BillingAccountName: () => 'Purser',
  BillingCurrency: () => 'USD',
  BillingPeriodStart: (charge) => monthStart(billedAt(charge), 0),
  BillingPeriodEnd: (charge) => monthStart(billedAt(charge), 1),
  // Corrections have negative quantities, which FOCUS does not allow for usage.
  ChargeCategory: ({ isCorrection }) => (isCorrection ? 'Adjustment' : 'Usage'),
  // Only if the corrected period has been billed: within its own period it is not a FOCUS correction.
  ChargeClass: (charge) => (isOfEarlierPeriod(charge) ? 'Correction' : null),
  ChargeDescription: ({ row, isCorrection, service }) =>
    `${isCorrection ? 'Correction of ' : ''}${service} ${row.model ?? row.tier ?? 'usage'}`,
  ChargeFrequency: () => 'Usage-Based',
  ChargePeriodStart: ({ row }) => second(Date.parse(row.occurred_at)),
  ChargePeriodEnd: ({ row }) => second(Date.parse(row.occurred_at) + lastsMs(row)),
  ConsumedQuantity: ({ isCorrection, quantity }) => (isCorrection ? null : quantity.amount),
  ConsumedUnit: ({ isCorrection, quantity }) => (isCorrection ? null : quantity.unit),
  ContractedCost: ({ row }) => row.cost_usd,
  EffectiveCost: ({ row }) => row.cost_usd,
  HostProviderName: ({ issuer }) => issuer,
  InvoiceIssuerName: ({ issuer }) => issuer,
  ListCost: ({ row }) => row.cost_usd,
  PricingQuantity: ({ isCorrection, quantity }) => (isCorrection ? null : quantity.amount),
  PricingUnit: ({ isCorrection, quantity }) => (isCorrection ? null : quantity.unit),
  ProviderName: ({ issuer }) => issuer,
  PublisherName: ({ issuer }) => issuer,
  RegionId: ({ row }) => row.region,
  ResourceId: ({ row }) => row.sandbox_id,
  ResourceType: ({ row }) => (row.sandbox_id === null ? null : 'Sandbox'),
  ServiceCategory: ({ row }) => (row.resource_type === 'llm' ? 'AI and Machine Learning' : 'Compute'),
  ServiceName: ({ service }) => service,
  ServiceProviderName: ({ issuer }) => issuer,
  ServiceSubcategory: ({ row }) => (row.resource_type === 'llm' ? 'Generative AI' : 'Virtual Machines'),
  SkuId: ({ row }) => row.model ?? row.tier,
  SkuPriceId: ({ row }) => row.price_id,
  SubAccountId: ({ row }) => row.tenant_id,
  SubAccountName: ({ row }) => row.tenant_id,
  Tags: ({ row }) => row.labels,
  x_ConversationId: ({ row }) => row.conversation_id,
  x_CostRecordId: ({ row }) => row.cost_record_id,
  x_Estimated: ({ row }) => String(row.estimated),
  x_PathId: ({ row }) => row.path_id,
  x_UserId: ({ row }) => row.user_id,
}

/**
 * FOCUS, the FinOps cost and usage format, as CSV: one row per record, amounts in plain decimals, times to the
 * second.
 */
export const FOCUS: ExportForm = {
  ...CSV_TYPES,
  header: csvLines([Object.keys(COLUMNS)]),
  write: (rows) => {
    const columns = Object.values(COLUMNS)
    return csvLines(rows.map(chargeOf).map((charge) => columns.map((column) => column(charge))))
  },
}

function chargeOf(row: ExportRow): Charge {
  const isLlm = row.resource_type === 'llm'
  const issuer = isLlm ? (row.provider ?? 'unknown') : 'E2B'
  return {
    row,
    isCorrection: row.corrects !== null,
    issuer,
    service: isLlm ? `${issuer} models` : 'E2B sandboxes',
    quantity: quantityOf(row),
  }
}

/** The consumed tokens or seconds. A cost without either counts as one request. */
function quantityOf({ resource_type: type, total_tokens: tokens, seconds }: ExportRow): Charge['quantity'] {
  if (type === 'llm' && tokens !== null && Number(tokens) > 0) return { amount: tokens, unit: 'Tokens' }
  if (type === 'e2b' && seconds !== null && Number(seconds) > 0) return { amount: seconds, unit: 'Seconds' }
  return { amount: '1', unit: 'Requests' }
}

const month = (time: string) => time.slice(0, 7)

function isOfEarlierPeriod({ row, isCorrection }: Charge): boolean {
  return isCorrection && month(row.occurred_at) < month(row.recorded_at)
}

/**
 * When a charge is billed: a correction of an earlier month when it was recorded, any other charge when it occurred.
 */
function billedAt(charge: Charge): string {
  return isOfEarlierPeriod(charge) ? charge.row.recorded_at : charge.row.occurred_at
}

function monthStart(time: string, monthsLater: number): string {
  const at = new Date(time)
  return second(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + monthsLater, 1))
}

/** How long a charge lasts, in ms: a sandbox as long as it ran, anything else one second. */
function lastsMs({ seconds }: ExportRow): number {
  return Math.max(1, Math.ceil(Math.abs(Number(seconds ?? 0)))) * 1_000
}

/** YYYY-MM-DDTHH:mm:ssZ */
function second(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}
