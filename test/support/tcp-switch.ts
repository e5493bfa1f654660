import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Scope } from './cleanup.ts'

/** One address in front of several servers on loopback. Connections stay with the server that they were made to. */
export interface TcpSwitch {
  readonly port: number
  /** The port that new connections go to. */
  to: number
  /** Connections taken so far. */
  taken(): number
}

export async function startTcpSwitch(scope: Scope, to: number): Promise<TcpSwitch> {
  let taken = 0
  const open = new Set<Socket>()
  const server = createServer((near) => {
    taken += 1
    const far = connect(self.to, '127.0.0.1')
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => (open.delete(socket), other.destroy()))
      socket.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const self: TcpSwitch = { port: (server.address() as AddressInfo).port, to, taken: () => taken }
  scope.after(async () => {
    for (const socket of open) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return self
}
