import { Redis } from 'ioredis'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findFreePort } from '../../../src/embedded/free-port.ts'
import { startRedisServer, type RedisProcess } from './redis-server.ts'

const NODES = 3
const SLOTS = 16_384

/** Three redis-servers that are one cluster, each with a third of the slots and no replica. */
export interface RedisCluster {
  nodes: RedisProcess[]
  /** The URLs in the form of REDIS_URL. */
  url: string
  stop(): Promise<void>
}

/**
 * Starts a cluster and waits until each node knows all of it.
 * @param settings more of redis.conf, for each node.
 */
export async function startRedisCluster(settings: string[] = []): Promise<RedisCluster> {
  const nodes: RedisProcess[] = []
  const files: string[] = []
  const buses: number[] = []
  for (let n = 0; n < NODES; n++) {
    const file = `purser-cluster-${process.pid}-${await findFreePort()}.conf`
    const bus = await findFreePort()
    buses.push(bus)
    files.push(join(tmpdir(), file))
    const cluster = ['--cluster-enabled', 'yes', '--cluster-config-file', file, '--cluster-port', String(bus)]
    nodes.push(await startRedisServer(undefined, [...cluster, '--cluster-node-timeout', '1000', ...settings]))
  }
  const clients = nodes.map(({ url }) => new Redis(url))
  for (const [n, client] of clients.entries()) {
    const from = Math.floor((n * SLOTS) / NODES)
    const to = Math.floor(((n + 1) * SLOTS) / NODES) - 1
    await client.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', n + 1)
  }
  for (const [n, { url }] of nodes.entries()) {
    if (n > 0) await clients[0]!.call('CLUSTER', 'MEET', '127.0.0.1', new URL(url).port, buses[n]!)
  }
  for (const client of clients) {
    for (;;) {
      const info = String(await client.call('CLUSTER', 'INFO'))
      if (info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`)) break
    }
    client.disconnect()
  }
  return {
    nodes,
    url: nodes.map(({ url }) => url).join(','),
    stop: async () => {
      await Promise.all(nodes.map((node) => node.kill()))
      for (const file of files) rmSync(file, { force: true })
    },
  }
}
