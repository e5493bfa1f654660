import { Redis } from 'ioredis'
import { type Scope, until } from '../support/cleanup.ts'
import { startRedis, type RedisServer } from '../support/redis.ts'
import { startTcpSwitch } from '../support/tcp-switch.ts'

/** A primary and its replica behind one address, as a managed Redis is. */
export interface RedisPair {
  /** The address that leads to the primary of the moment. */
  readonly port: number
  /**
   * Makes the replica the primary. The old one dies, or becomes the replica of the new one and keeps its connections: what a service address
   * does, which leads new connections elsewhere. Resolves when both are there again and in step.
   */
  failOver(old: 'killed' | 'demoted', awayMs: number): Promise<void>
  stop(): Promise<void>
}

export async function startRedisPair(scope: Scope): Promise<RedisPair> {
  let [primary, replica] = [await startRedis(scope), await startRedis(scope)]
  await follow(replica, primary)
  const address = await startTcpSwitch(scope, primary.port)
  return {
    port: address.port,
    async failOver(old, awayMs) {
      const [before, after] = [primary, replica]
      if (old === 'killed') await before.stop('SIGKILL')
      await ask(after, ['REPLICAOF', 'NO', 'ONE'])
      primary = after
      address.to = after.port
      replica = before
      if (old === 'killed') {
        await new Promise((resolve) => setTimeout(resolve, awayMs))
        replica = await startRedis(scope, { port: before.port, folder: before.folder })
      }
      await follow(replica, primary)
    },
    async stop() {
      await Promise.all([primary.stop(), replica.stop()])
    },
  }
}

async function follow(replica: RedisServer, primary: RedisServer): Promise<void> {
  await ask(replica, ['REPLICAOF', '127.0.0.1', String(primary.port)])
  await until('the replica is in step', async () =>
    (await ask(replica, ['INFO', 'replication'])).includes('master_link_status:up'),
  )
}

async function ask({ port }: RedisServer, [command = '', ...parameters]: readonly string[]): Promise<string> {
  const redis = new Redis(port, { maxRetriesPerRequest: 3 })
  redis.on('error', () => {})
  try {
    return String(await redis.call(command, ...parameters))
  } finally {
    redis.disconnect()
  }
}
