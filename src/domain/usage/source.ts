/** Who answered, by the names that the prices know. The meaning of a usage object depends on it. */
export type UsageSource = { provider: string; model: string }

/** Whether the model is one of Anthropic's, whoever serves it. */
export function isClaude({ model }: UsageSource): boolean {
  return model.includes('claude')
}

/** Whether the model is one of Google's, served by Google. */
export function isGoogles(source: UsageSource): boolean {
  return source.provider === 'google' && !isClaude(source)
}

/** Whether the model is one of xAI's, whoever serves it. */
export function isGrok({ provider, model }: UsageSource): boolean {
  return provider === 'x-ai' || model.includes('grok-')
}

/** Whether the model is one of Perplexity's, whoever serves it. */
export function isSonar({ provider, model }: UsageSource): boolean {
  return provider === 'perplexity' || model.startsWith('perplexity/') || model.startsWith('sonar')
}

/** Whether the model is Perplexity's that searches and reasons for minutes, and is billed for each of it. */
export function isDeepResearch(source: UsageSource): boolean {
  return isSonar(source) && source.model.includes('deep-research')
}

/** Whether the model makes images, and nothing else. */
export function isImageModel({ model }: Pick<UsageSource, 'model'>): boolean {
  return /(^|[/.])(gpt-image|chatgpt-image)/.test(model)
}

/** Whether the model answers with images or with text. */
export function mayMakeImages({ model }: Pick<UsageSource, 'model'>): boolean {
  return /gemini-.*-image/.test(model)
}
