/**
 * The provider and model that answered, by the names that rate cards have. The meaning of a usage object depends on
 * them.
 */
export type UsageSource = { provider: string; model: string }

/** Whether the model is Anthropic's, whichever provider serves it. */
export function isClaude({ model }: UsageSource): boolean {
  return model.includes('claude')
}

/** Whether the model is Google's own, served by Google. */
export function isGoogles(source: UsageSource): boolean {
  return source.provider === 'google' && !isClaude(source)
}

/** Whether the model is xAI's, whichever provider serves it. */
export function isGrok({ provider, model }: UsageSource): boolean {
  return provider === 'x-ai' || model.includes('grok-')
}

/** Whether the model is Perplexity's, whichever provider serves it. */
export function isSonar({ provider, model }: UsageSource): boolean {
  return provider === 'perplexity' || model.startsWith('perplexity/') || model.startsWith('sonar')
}

/**
 * Whether the model is Perplexity's deep research, which searches and reasons for minutes and bills each search and
 * reasoning token.
 */
export function isDeepResearch(source: UsageSource): boolean {
  return isSonar(source) && source.model.includes('deep-research')
}

/** Whether the model outputs images and nothing else. */
export function isImageModel({ model }: Pick<UsageSource, 'model'>): boolean {
  return /(^|[/.])(gpt-image|chatgpt-image)/.test(model)
}

/** Whether the model may output images or text. */
export function mayMakeImages({ model }: Pick<UsageSource, 'model'>): boolean {
  return /gemini-.*-image/.test(model)
}
