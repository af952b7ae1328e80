import type { Message } from './message.ts'
import { wordingOf } from './wording.ts'

/** Makes a request for Slack's incoming webhooks and compatible services. */
export function slackRequest(message: Message): { headers: Record<string, string>; body: string } {
  const { subject, advice, facts } = wordingOf(message)
  const lines = [
    `*${escapeMrkdwn(subject)}*`,
    escapeMrkdwn(advice),
    ...facts.map(([name, value]) => `• ${name}: ${escapeMrkdwn(value)}`),
  ]
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text: lines.join('\n') }) }
}

/**
 * Escapes the three control characters of Slack's markup, so that a tenant's id cannot become a mention or a link.
 */
function escapeMrkdwn(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
