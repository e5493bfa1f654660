import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Scope } from './cleanup.ts'

/** Has a server listen on a free port of the loopback until the scope ends, and says which. */
export async function listening(server: Server, scope: Scope): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  scope.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
