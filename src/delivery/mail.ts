import { createTransport } from 'nodemailer'
import type { Message } from './message.ts'
import { wordingOf } from './wording.ts'

/** The recipients that the mail server refused; null if it accepted all. */
export type Mailed = { refused: string | null }

export type Mailer = (message: Message, recipients: string[]) => Promise<Mailed>

const STEP_MS = 15_000
/** Below the lease of an attempt, which is 60 s. */
const MAIL_MS_MAX = 45_000

/**
 * Opens a sender of mail over SMTP, as plain text and HTML. A repeated message has the same Message-ID.
 *
 * @throws what nodemailer throws; its `responseCode` is the server's answer.
 */
export function openMailer(smtpUrl: string, from: string): Mailer {
  const transport = createTransport(
    {
      url: smtpUrl,
      connectionTimeout: STEP_MS,
      greetingTimeout: STEP_MS,
      socketTimeout: STEP_MS,
      dnsTimeout: STEP_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    { from },
  )
  const domain = /@([^\s@>]+)>?\s*$/.exec(from)?.[1] ?? 'localhost'
  return async (message, recipients) => {
    const { subject, advice, facts } = wordingOf(message)
    const sent = transport.sendMail({
      to: recipients,
      subject,
      messageId: `<${message.id}@${domain}>`,
      // Tells automatic responders not to answer.
      headers: { 'auto-submitted': 'auto-generated' },
      text: [subject, '', advice, '', ...facts.map(([name, value]) => `${name}: ${value}`), ''].join('\n'),
      html: `<h3>${escapeHtml(subject)}</h3><p>${escapeHtml(advice)}</p><table>${facts
        .map(([name, value]) => `<tr><td>${escapeHtml(name)}</td><td>${escapeHtml(value)}</td></tr>`)
        .join('')}</table>`,
    })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`the mail server took longer than ${MAIL_MS_MAX / 1_000} s`)),
        MAIL_MS_MAX,
      )
    })
    try {
      const { rejected } = await Promise.race([sent, late])
      return { refused: rejected.length === 0 ? null : `refused for ${rejected.map(String).join(', ')}` }
    } finally {
      clearTimeout(timer)
    }
  }
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
