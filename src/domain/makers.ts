const MAKERS: ReadonlySet<string> = new Set(['anthropic', 'openai'])
const CLOUDS: ReadonlySet<string> = new Set(['aws', 'azure', 'google'])

/** Whether a provider sells the models of makers under the makers' names. */
export function isCloud(provider: string): boolean {
  return CLOUDS.has(provider)
}

/** The providers that a model's name alone may mean: of those that sell it, no clouds where the maker is among them. */
export function candidateProviders(sellers: Iterable<string>): string[] {
  const providers = [...new Set(sellers)]
  return providers.some((provider) => MAKERS.has(provider))
    ? providers.filter((provider) => !isCloud(provider))
    : providers
}
