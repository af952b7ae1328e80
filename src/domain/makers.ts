const MAKERS: ReadonlySet<string> = new Set(['anthropic', 'openai'])
const CLOUDS: ReadonlySet<string> = new Set(['aws', 'azure', 'google'])

/** Whether a provider sells the models of makers under the makers' names. */
export function isCloud(provider: string): boolean {
  return CLOUDS.has(provider)
}

/**
 * The providers that a model name may mean when no provider is given: the model's maker if the maker sells it, else
 * every provider that sells it.
 */
export function candidateProviders(sellers: Iterable<string>): string[] {
  const providers = [...new Set(sellers)]
  const makers = providers.filter((provider) => MAKERS.has(provider))
  return makers.length > 0 ? makers : providers
}
