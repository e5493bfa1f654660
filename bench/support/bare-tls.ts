// The ceiling of a CONNECT storm: a bare tls.createServer that checks client certificates, and answers the first bytes of each
// connection with a CONNACK. Parameters: the folder with authority.pem, server.pem and server.key.
import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'

const [folder = '.'] = process.argv.slice(2)
const read = (name: string): Buffer => readFileSync(join(folder, name))
const connack = Buffer.from([0x20, 2, 0, 0])

const server = createServer(
  {
    ca: read('authority.pem'),
    cert: read('server.pem'),
    key: read('server.key'),
    requestCert: true,
    rejectUnauthorized: true,
  },
  (socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write(connack))
  },
)
server.listen(0, '127.0.0.1', () => console.log(`listening ${(server.address() as AddressInfo).port}`))
process.on('SIGTERM', () => process.exit(0))
