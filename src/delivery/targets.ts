import { lookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'

type Address = { address: string; family: number }

/** A URL that must not be sent to. The message tells the administrator why. */
export class TargetRefused extends Error {
  override readonly name = 'TargetRefused'
}

/**
 * Guards the addresses that messages are sent to: a URL from an administrator must not reach into the service's own
 * network.
 */
export type Targets = {
  /** What is wrong with a URL, without looking up its name; null if nothing is. */
  complaint(url: string): string | null
  /**
   * Looks up the addresses of a URL and checks all of them. Returns a lookup function for the connection, so that the
   * connection uses exactly the checked addresses.
   *
   * @throws TargetRefused; lookup errors unchanged.
   */
  resolve(url: URL): Promise<LookupFunction>
}

const PUBLIC_IPV6 = ipaddr.parseCIDR('2000::/3')

/**
 * Allows https to public addresses, and https and plain http to listed private addresses.
 *
 * @param privateTargets networks such as 10.0.0.0/8, or addresses, separated by commas.
 * @param addressesOf looks up a name.
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
  const checkAddress = (url: URL, address: string) => {
    if (isListed(address)) return
    if (!isPublic(address)) {
      throw new TargetRefused(`${address} is not a public address, and PURSER_WEBHOOK_PRIVATE_TARGETS does not list it`)
    }
    if (url.protocol !== 'https:') {
      throw new TargetRefused('plain http is allowed only to addresses in PURSER_WEBHOOK_PRIVATE_TARGETS: use https')
    }
  }
  // Look up each name only once at a time: a name whose servers do not answer must not occupy the few lookup threads.
  const asking = new Map<string, Promise<Address[]>>()
  const askAddresses = (host: string) => {
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
        if (isIP(host) > 0) checkAddress(url, host)
        else if (url.protocol === 'http:' && listed.length === 0)
          return 'must begin with https://: PURSER_WEBHOOK_PRIVATE_TARGETS lists no addresses for plain http'
        return null
      } catch (error) {
        return `is refused: ${(error as Error).message}`
      }
    },
    resolve: async (url) => {
      const host = hostOf(url)
      const addresses = isIP(host) > 0 ? [{ address: host, family: isIP(host) }] : await askAddresses(host)
      // If one address is refused, refuse the name: mixing public and private addresses is a known attack.
      for (const { address } of addresses) checkAddress(url, address)
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

/** Whether an address belongs to the public internet: not private, local, reserved, or IPv4 embedded in IPv6. */
function isPublic(address: string): boolean {
  const parsed = ipaddr.process(address)
  return parsed.range() === 'unicast' && (parsed.kind() === 'ipv4' || parsed.match(PUBLIC_IPV6))
}
