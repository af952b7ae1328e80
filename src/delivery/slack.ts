import type { Message } from './message.ts'
import { wordingOf } from './wording.ts'

/** A message as Slack's incoming webhooks take it, and what is compatible with them. */
export function slackRequest(message: Message): { headers: Record<string, string>; body: string } {
  const { subject, advice, facts } = wordingOf(message)
  const lines = [
    `*${escapeMrkdwn(subject)}*`,
    escapeMrkdwn(advice),
    ...facts.map(([name, value]) => `• ${name}: ${escapeMrkdwn(value)}`),
  ]
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text: lines.join('\n') }) }
}

/** The three characters that Slack's markup asks for: a tenant's id must not become a mention or a link. */
function escapeMrkdwn(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
