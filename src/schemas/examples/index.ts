import { COSTS } from './costs.ts'
import { EVENTS } from './events.ts'
import { KEYS } from './keys.ts'
import { DAY, NEXT_DAY, RESERVATION_ID, COST_RECORD_ID, type RoomExamples } from './operation.ts'
import { OPERATIONS } from './operations.ts'
import { PRICES } from './prices.ts'
import { QUOTAS } from './quotas.ts'
import { RESERVATIONS } from './reservations.ts'

export type { OperationExamples } from './operation.ts'

/** The examples of every operation, by its operationId. */
export const EXAMPLES: RoomExamples = {
  ...RESERVATIONS,
  ...COSTS,
  ...QUOTAS,
  ...EVENTS,
  ...PRICES,
  ...KEYS,
  ...OPERATIONS,
}

/** Examples of parameters that have the same name and meaning in several operations. */
export const PARAMETER_EXAMPLES: Readonly<Record<string, string | number | boolean>> = {
  limit: 100,
  cursor: 'IjAxYTIzMGYwLTg5YzAtNzEwZi1hNGQwLTRhYTIwNTBmNzUwMyI',
  'x-purser-reason': 'contract of December',
  resource_type: 'llm',
  scope: 'tenant',
  period: 'day',
  tenant_id: 'acme',
  user_id: 'u-17',
  conversation_id: 'c-9',
  path_id: 'support-agent',
  provider: 'openai',
  model: 'gpt-6.1-sol',
  tier: 'medium',
  region: 'us-east-1',
  reservation_id: RESERVATION_ID,
  cost_record_id: COST_RECORD_ID,
  from: DAY,
  to: NEXT_DAY,
  at: DAY,
  late: false,
  overrun: true,
  estimated: true,
  time_zone: 'Europe/Dublin',
}
