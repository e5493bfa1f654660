import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, type Scope, temporaryFolder } from './cleanup.ts'
import { listening, run, type Running } from './process.ts'

export interface RedisServer extends Running {
  readonly port: number
  readonly url: string
  readonly folder: string
}

/**
 * A real redis-server on a free port with its files in a temporary folder: AOF everysec and `noeviction`, as Sluice wants
 * it. Given a `port` and `folder` it starts again on the files of one that was stopped.
 */
export async function startRedis(
  scope: Scope,
  options: { readonly port?: number; readonly folder?: string; readonly parameters?: readonly string[] } = {},
): Promise<RedisServer> {
  const port = options.port ?? (await freePort())
  const folder = options.folder ?? (await temporaryFolder(scope))
  const files = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--daemonize', 'no']
  const safety = ['--save', '', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction']
  const running = run(scope, 'redis-server', [...files, ...safety, ...(options.parameters ?? [])])
  await listening(port, running)
  return { ...running, port, folder, url: `redis://127.0.0.1:${port}` }
}

/** A real sentinel that watches one primary on loopback and fails over by itself half a second after it has gone. */
export async function startSentinel(
  scope: Scope,
  {
    name,
    primary,
    lines = [],
    secure = false,
  }: { readonly name: string; readonly primary: number; readonly lines?: readonly string[]; readonly secure?: boolean },
): Promise<Running & { readonly port: number }> {
  const port = await freePort()
  const file = join(await temporaryFolder(scope), 'sentinel.conf')
  const settings = ['down-after-milliseconds 500', 'failover-timeout 3000', 'parallel-syncs 1']
  const text = [
    secure ? `port 0\ntls-port ${port}` : `port ${port}`,
    'bind 127.0.0.1',
    `sentinel monitor ${name} 127.0.0.1 ${primary} 1`,
    ...settings.map((setting) => setting.replace(' ', ` ${name} `)).map((setting) => `sentinel ${setting}`),
    ...lines,
  ]
  await writeFile(file, `${text.join('\n')}\n`)
  const running = run(scope, 'redis-server', [file, '--sentinel'])
  await listening(port, running)
  return { ...running, port }
}
