import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, type Scope, temporaryFolder } from './cleanup.ts'
import { listening, run, type Running } from './process.ts'

export interface MosquittoServer extends Running {
  readonly port: number
  readonly url: string
  readonly folder: string
}

/**
 * A real mosquitto on a free loopback port. Anonymous clients are let in unless `lines` say otherwise (they stand after the
 * listener in its configuration file). Persistence is on, with the settings that Sluice's docs recommend.
 */
export async function startMosquitto(
  scope: Scope,
  options: { readonly port?: number; readonly folder?: string; readonly lines?: readonly string[] } = {},
): Promise<MosquittoServer> {
  const port = options.port ?? (await freePort())
  const folder = options.folder ?? (await temporaryFolder(scope))
  const file = join(folder, 'mosquitto.conf')
  const own = options.lines ?? []
  await writeFile(
    file,
    [
      `listener ${port} 127.0.0.1`,
      ...(own.some((line) => line.startsWith('allow_anonymous')) ? [] : ['allow_anonymous true']),
      ...own,
      'user root',
      'persistence true',
      `persistence_location ${folder}/`,
      'autosave_interval 1',
      'max_queued_messages 100000000',
      'max_queued_bytes 0',
      'max_inflight_messages 1000',
      'set_tcp_nodelay true',
      '',
    ].join('\n'),
  )
  const running = run(scope, 'mosquitto', ['-c', file])
  await listening(port, running)
  return { ...running, port, folder, url: `mqtt://127.0.0.1:${port}` }
}
