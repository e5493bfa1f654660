import type { AddressInfo, Server } from 'node:net'

/** Listens; rejects with the system's error. */
export function listenOn(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Where a server listens; undefined where it doesn't. */
export function addressOf(
  server: Pick<Server, 'address'>,
): { readonly host: string; readonly port: number } | undefined {
  const address = server.address() as AddressInfo | null
  return address === null ? undefined : { host: address.address, port: address.port }
}
