const MAKERS: ReadonlySet<string> = new Set(['anthropic', 'openai'])
const CLOUDS: ReadonlySet<string> = new Set(['aws', 'azure', 'google'])

/** Whether a provider sells the models of makers under the makers' names. */
export function isCloud(provider: string): boolean {
  return CLOUDS.has(provider)
}

/** The providers that a model's name alone may mean: its maker if the maker sells it, else every seller. */
export function candidateProviders(sellers: Iterable<string>): string[] {
  const providers = [...new Set(sellers)]
  const makers = providers.filter((provider) => MAKERS.has(provider))
  return makers.length > 0 ? makers : providers
}
