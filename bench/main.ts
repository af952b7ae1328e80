// `npm run bench`: figures that anyone can repeat. It prints them and never fails because something was slow.
import { machineLine } from './machine.ts'
import { helpOf, readOptions, UsageError, type Scenario } from './scenario.ts'
import { onStage } from './stage.ts'

/** Imported only when asked for, so that one scenario's modules take no memory while another one runs. */
const scenarios: Record<string, [summary: string, load: () => Promise<{ scenario: Scenario }>]> = {
  loads: ['each load beside a bare Fastify route (the default)', () => import('./scenarios/loads.ts')],
  compare: ['this checkout beside another one, under the same load', () => import('./scenarios/compare.ts')],
  growth: ['a full database beside an empty one', () => import('./scenarios/growth.ts')],
  instances: ['several service processes on one Postgres', () => import('./scenarios/instances.ts')],
  bloat: ['the tables that every request updates, minute by minute', () => import('./scenarios/bloat.ts')],
  overload: ['far more clients than one instance can serve', () => import('./scenarios/overload.ts')],
  costs: ['questions about costs, booking, and an export', () => import('./scenarios/costs.ts')],
  pricing: ['pricing a call, publishing prices, estimating texts', () => import('./scenarios/pricing.ts')],
  deliveries: ['events delivered to webhooks', () => import('./scenarios/deliveries.ts')],
  quotas: ['thresholds, quota status, and new quotas over many records', () => import('./scenarios/quotas.ts')],
}

const help = [
  'Usage: npm run bench -- [SCENARIO] [options]',
  '\nScenarios',
  ...Object.entries(scenarios).map(([name, [summary]]) => `  ${name.padEnd(12)}${summary}`),
  '\n`npm run bench -- SCENARIO --help` shows the options of one scenario. Progress goes to stderr, figures to stdout.',
].join('\n')

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 2
}

async function main(args: string[]): Promise<void> {
  if (args[0] === '--help') return console.log(help)
  const name = args[0]?.startsWith('-') === false ? args.shift()! : 'loads'
  const found = scenarios[name]
  if (found === undefined) throw new UsageError(`there is no scenario ${name}\n\n${help}`)
  const { scenario } = await found[1]()
  const options = readOptions(scenario, args)
  if (options.help) return console.log(helpOf(name, scenario))
  const figures = await onStage((stack) => scenario.run(stack, options.values, options.argument))
  const machine = machineLine()
  console.log(
    options.json
      ? JSON.stringify({ machine, scenario: name, options: options.values, ...figures }, null, 2)
      : ['', machine, ...scenario.print(figures, options.values)].join('\n'),
  )
}
