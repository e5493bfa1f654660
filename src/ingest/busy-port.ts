import { readdir, readFile, readlink } from 'node:fs/promises'
import { connect } from 'node:net'

/**
 * Says what has a port, as far as can be known, for people: on Linux the process, where /proc lets us see it; otherwise
 * whether an MQTT broker answers there. Never throws.
 */
export async function describeBusyPort(port: number, host = '127.0.0.1'): Promise<string> {
  const owner = await ownerOf(port).catch(() => undefined)
  const broker = await answersMqtt(port, host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host)
  const what = broker ? ', and an MQTT broker answers there' : ''
  if (owner !== undefined) return `port ${port} is taken by ${owner.name} (process ${owner.pid})${what}`
  return `port ${port} is taken by another program${what}`
}

/** The process that listens on a port: its name only, since a command line may hold secrets. */
async function ownerOf(port: number): Promise<{ pid: string; name: string } | undefined> {
  const inodes = new Set([...(await listeners('/proc/net/tcp', port)), ...(await listeners('/proc/net/tcp6', port))])
  if (inodes.size === 0) return undefined
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    // A process that is not ours, or has just ended, can't be looked into.
    const files = await readdir(`/proc/${pid}/fd`).catch(() => [])
    for (const file of files) {
      const target = await readlink(`/proc/${pid}/fd/${file}`).catch(() => '')
      const inode = /^socket:\[(?<inode>\d+)\]$/.exec(target)?.groups?.['inode']
      if (inode === undefined || !inodes.has(inode)) continue
      return { pid, name: (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() }
    }
  }
  return undefined
}

/** Socket inodes in state LISTEN (0A) on a port; the columns are those of proc_pid_net(5). */
async function listeners(file: string, port: number): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] === '0A' && columns[1]?.endsWith(wanted))
    .flatMap((columns) => columns[9] ?? [])
}

/** An MQTT 3.1.1 CONNECT with the client id `sluice-probe` and a clean session. */
const probe = Buffer.from('101800044d5154540402003c000c736c756963652d70726f6265', 'hex')

function answersMqtt(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host })
    const done = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1_000, () => done(false))
    socket.on('error', () => done(false))
    socket.on('close', () => done(false))
    socket.on('connect', () => socket.write(probe))
    // A CONNACK, whatever its code: a broker that refuses us is a broker too.
    socket.on('data', (data) => done(data[0] === 0x20 && data[1] === 2))
  })
}
