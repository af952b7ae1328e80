import { lookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'

type Address = { address: string; family: number }

/** Why a URL is not one that is sent to, in words for who set it. */
export class TargetRefused extends Error {
  override readonly name = 'TargetRefused'
}

/** The guard of addresses: what is sent where an administrator says must not reach into the network of the service. */
export type Targets = {
  /** What is wrong with a URL as it stands, without asking for its address; null for nothing. */
  complaint(url: string): string | null
  /**
   * The addresses of a URL, all of them checked, as the look-up for the connection: what is connected to is what was checked.
   *
   * @throws TargetRefused; errors of the look-up as they are.
   */
  resolve(url: URL): Promise<LookupFunction>
}

const PUBLIC_IPV6 = ipaddr.parseCIDR('2000::/3')

/**
 * Lets through https to public addresses, and https and plain http to private ones that are listed.
 *
 * @param privateTargets networks as 10.0.0.0/8 or addresses, separated by commas.
 * @param addressesOf the look-up of names.
 */
export function openTargets(
  privateTargets: string | undefined,
  addressesOf = (host: string): Promise<Address[]> => lookup(host, { all: true }),
): Targets {
  const listed = (privateTargets ?? '').split(',').flatMap((text) => {
    const network = text.trim()
    return network === '' ? [] : [ipaddr.parseCIDR(network.includes('/') ? network : `${network}/${bitsOf(network)}`)]
  })
  const isListed = (address: string) => {
    const parsed = ipaddr.process(address)
    return listed.some(([network, bits]) => network.kind() === parsed.kind() && parsed.match(network, bits))
  }
  const check = (url: URL, address: string) => {
    if (isListed(address)) return
    if (!isPublic(address)) {
      throw new TargetRefused(`${address} is not a public address, and PURSER_WEBHOOK_PRIVATE_TARGETS does not list it`)
    }
    if (url.protocol !== 'https:') {
      throw new TargetRefused('plain http goes to addresses that PURSER_WEBHOOK_PRIVATE_TARGETS lists only: use https')
    }
  }
  // A name is asked for once at a time: one whose servers are silent must not fill the few threads that ask.
  const asking = new Map<string, Promise<Address[]>>()
  const ask = (host: string) => {
    let answer = asking.get(host)
    if (answer === undefined) {
      answer = addressesOf(host).finally(() => asking.delete(host))
      asking.set(host, answer)
    }
    return answer
  }

  return {
    complaint: (text) => {
      const url = URL.parse(text)
      if (url === null || !['http:', 'https:'].includes(url.protocol)) return 'must be a URL that begins with https://'
      if (url.username !== '' || url.password !== '' || url.hash !== '')
        return 'must not hold a user, password or fragment'
      try {
        const host = hostOf(url)
        if (isIP(host) > 0) check(url, host)
        else if (url.protocol === 'http:' && listed.length === 0)
          return 'must begin with https://: PURSER_WEBHOOK_PRIVATE_TARGETS lists no addresses for plain http'
        return null
      } catch (error) {
        return `is refused: ${(error as Error).message}`
      }
    },
    resolve: async (url) => {
      const host = hostOf(url)
      const addresses = isIP(host) > 0 ? [{ address: host, family: isIP(host) }] : await ask(host)
      // One that is refused refuses all: a name that mixes both is up to something.
      for (const { address } of addresses) check(url, address)
      return (_host, { all }, answer) => {
        if (all) answer(null, addresses)
        else answer(null, addresses[0]!.address, addresses[0]!.family)
      }
    },
  }
}

function bitsOf(address: string): number {
  return isIP(address) === 4 ? 32 : 128
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

/** Whether an address is one of the public internet: not private, local, reserved, or IPv4 in disguise. */
function isPublic(address: string): boolean {
  const parsed = ipaddr.process(address)
  return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(PUBLIC_IPV6))
}
