/** Asks the service's own code for the estimate of a call or a sandbox, from the prices in its cache. */
import { openPriceCache } from '../../src/cache/prices.ts'
import type { MissingPrice } from '../../src/db/alerts/events.ts'
import { openSharedCache } from '../../src/cache/shared.ts'
import { DatabaseClock } from '../../src/db/pool/clock.ts'
import type { Db } from '../../src/db/pool/connection.ts'
import { findReservation } from '../../src/db/reservations/reservations.ts'
import { Problem } from '../../src/errors.ts'
import { estimateTotal } from '../../src/services/reservations/extend-estimate.ts'
import {
  estimateReservation,
  type EstimateDeps,
  type ReserveEstimate,
} from '../../src/services/reservations/reserve-estimate.ts'
import type { Total } from './model.ts'
import type { Tokens } from './prices.ts'

export const PROVIDER = 'proof'

/** A clock with the time of the connection's own clock. */
class StandingClock extends DatabaseClock {
  at = new Date(0)

  constructor() {
    super(new Date(0), () => Promise.resolve(this.at))
  }

  override now(): Date {
    return this.at
  }

  override current(): Promise<Date> {
    return Promise.resolve(this.at)
  }
}

export type Ask = { name: string; tokens: Tokens } | { tier: string; seconds: number }

/** Estimates at one moment, which `moveTo` sets. */
export class Estimates {
  readonly #deps: EstimateDeps
  readonly #clock = new StandingClock()

  constructor(db: Db) {
    const shared = openSharedCache(undefined, '', () => {})
    const queues = { emitMissingPrice: (missing: MissingPrice) => Promise.resolve(missing) }
    this.#deps = { db, clock: this.#clock, prices: openPriceCache(db, shared), queues }
  }

  /** Call this after prices were published. */
  async reload(): Promise<void> {
    await this.#deps.prices.changed()
  }

  /** Null if the call or the sandbox has no price. */
  async of(ask: Ask, tenant: string, at: number): Promise<ReserveEstimate | null> {
    this.#clock.at = new Date(at)
    const what =
      'tier' in ask
        ? { resource_type: 'e2b' as const, e2b: { tier: ask.tier, max_seconds: ask.seconds } }
        : {
            resource_type: 'llm' as const,
            llm: {
              provider: PROVIDER,
              model: ask.name,
              input_tokens: ask.tokens.input_tokens,
              max_output_tokens: ask.tokens.output_tokens,
            },
          }
    try {
      const principal = { id: 'test', role: 'service' as const, tenantId: null }
      return await estimateReservation(this.#deps, principal, tenant, { tenant_id: tenant, ...what })
    } catch (error) {
      if (error instanceof Problem && error.code === 'price_not_found') return null
      throw error
    }
  }

  /** The cost of a new total of a reservation, in output tokens or in seconds. */
  async ofTotal(reservationId: string, asked: number): Promise<Total> {
    const stored = await findReservation(this.#deps.db, reservationId, null)
    const measure = stored!.resource_type === 'llm' ? 'max_output_tokens' : 'max_seconds'
    const { amount_usd: amount, estimate } = await estimateTotal(this.#deps, stored!, { [measure]: asked })
    return { asked: String(asked), amount, estimate }
  }
}
