const MAKERS: ReadonlySet<string> = new Set(['anthropic', 'openai'])
const CLOUDS: ReadonlySet<string> = new Set(['aws', 'azure', 'google'])

/** Whether a provider sells the models of makers under the makers' names. */
export function isCloud(provider: string): boolean {
  return CLOUDS.has(provider)
}

/** Of the providers that have a model, those that its name alone may mean: without the clouds where its maker has it, too. */
export function meantProviders(havers: Iterable<string>): string[] {
  const providers = [...new Set(havers)]
  return providers.some((provider) => MAKERS.has(provider))
    ? providers.filter((provider) => !isCloud(provider))
    : providers
}
