import { deepEqual, doesNotMatch, equal, match, ok, rejects } from 'node:assert/strict'
import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { until } from '../../support/cleanup.ts'
import { handmadeHello, handmadeMessage, inRecords } from './handmade-hello.ts'
import { proxyV2 } from './proxy-v2.ts'
import { Authority, dial, type MadeCertificate, nextText, relay, secure, sClient, startFront } from './support.ts'

const ipv4 = Buffer.from([203, 0, 113, 7, 10, 0, 0, 1, 0xd4, 0x31, 1, 0xbb])

describe('the TLS front', () => {
  let authority: Authority
  let certificates: MadeCertificate[]
  let stop: (() => Promise<void>)[] = []
  const scope = { after: (end: () => Promise<void>) => void stop.push(end) } as Parameters<typeof Authority.make>[0]
  before(async () => {
    authority = await Authority.make(scope)
    const make = (kind: 'rsa' | 'ec') => authority.issue('server', { kind, names: ['localhost'] })
    certificates = await Promise.all([make('rsa'), make('ec')])
  })
  after(async () => {
    for (const end of stop.toReversed()) await end()
    stop = []
  })

  describe('ALPN', () => {
    const expected = {
      mqtt: 'mqtt',
      'x-amzn-mqtt-ca': 'mqtt',
      'x-amzn-http-ca': 'http',
      'http/1.1': 'http',
    }
    for (const protocol of ['http', 'mqtt'] as const) {
      it(`each name, none and an unknown one, on a port that speaks ${protocol}`, async (t) => {
        const { port, taken, failures } = await startFront(t, { settings: { certificates }, protocol })
        for (const [name, kind] of Object.entries(expected)) {
          for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
            const range = { minVersion: version, maxVersion: version }
            const socket = await secure(t, port, { ALPNProtocols: ['h2', name], ...range })
            equal(await nextText(socket), kind)
            equal(socket.alpnProtocol, name)
            deepEqual(taken.at(-1)?.facts.tls.alpn, name)
          }
        }
        equal(await nextText(await secure(t, port)), protocol)
        equal(taken.at(-1)?.facts.tls.alpn, undefined)
        for (const version of ['-tls1_2', '-tls1_3']) {
          const probe = await sClient(port, [version, '-alpn', 'h2,mqttt'])
          match(probe.output, /alert no application protocol/)
        }
        equal(failures.get('alpn'), 2)
      })
    }
  })

  it('an HTTP server behind it answers', async (t) => {
    const http = createHttpServer((_request, response) => response.end('answered'))
    const { port } = await startFront(t, {
      settings: { certificates },
      onConnection: ({ socket }) => void http.emit('connection', socket),
    })
    const answer = await new Promise<string>((resolve, reject) => {
      const options = { port, host: '127.0.0.1', agent: false, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }
      request(options, (response) => {
        response.setEncoding('utf8').on('data', resolve)
      })
        .on('error', reject)
        .end()
    })
    equal(answer, 'answered')
  })

  it('no session is resumed, in TLS 1.2 and 1.3', async (t) => {
    // The end of the connection ends s_client, which has seen by then what TLS 1.3 sends after the handshake.
    const { port } = await startFront(t, {
      settings: { certificates },
      onConnection: ({ socket }) => socket.end('bye'),
    })
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const range = { minVersion: version, maxVersion: version }
      const flag = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3'
      const file = authority.path(`session-${version}`)
      const first = await sClient(port, [flag, '-sess_out', file, '-ign_eof'])
      equal(first.version, version)
      const second = await sClient(port, [flag, '-sess_in', file, '-ign_eof'])
      match(second.output, /^New, /m)
      doesNotMatch(second.output, /^Reused, /m)

      let session: Buffer | undefined
      const one = await secure(t, port, range)
      one.on('session', (given) => (session = given)).resume()
      session ??= one.getSession()
      await once(one, 'close')
      ok(session !== undefined)
      const two = await secure(t, port, { ...range, session })
      equal(two.isSessionReused(), false)
    }
    const again = await sClient(port, ['-tls1_2', '-reconnect', '-ign_eof'])
    equal(again.output.match(/^New, /gm)?.length, 6)
    doesNotMatch(again.output, /Reused, |TLS session ticket:/)
  })

  it('no renegotiation', async (t) => {
    const { port } = await startFront(t, { settings: { certificates } })
    const { output } = await sClient(port, ['-tls1_2'], 'R\n')
    match(output, /RENEGOTIATING/)
    match(output, /no renegotiation|unexpected message/)
  })

  describe('client certificates', () => {
    it('what was shown is in the facts, whoever signed it', async (t) => {
      const { port, taken } = await startFront(t, { settings: { certificates } })
      const device = await authority.issue('device')
      const other = await authority.issue('other')
      const read = (path: string) => readFile(path, 'utf8')
      const key = await read(device.key)
      const own = await read(device.certificate)
      const [ca, stranger] = [await authority.text('ca.pem'), await read(other.certificate)]
      const der = (pem: string) => new X509Certificate(pem).raw
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const range = { minVersion: version, maxVersion: version }
        await nextText(await secure(t, port, { key, cert: own, ...range }))
        deepEqual(taken.at(-1)?.facts.tls.certificate, der(own))
        deepEqual(taken.at(-1)?.facts.tls.chain, [])
        // As they came, whether they belong together or not.
        await nextText(await secure(t, port, { key, cert: own + stranger + ca, ...range }))
        deepEqual(taken.at(-1)?.facts.tls.certificate, der(own))
        deepEqual(taken.at(-1)?.facts.tls.chain, [der(stranger), der(ca)])
        await nextText(await secure(t, port, range))
        deepEqual(taken.at(-1)?.facts, { tls: {}, sourceIp: '127.0.0.1' })
      }
    })

    it('none is asked for where none is wanted', async (t) => {
      const { port, taken } = await startFront(t, { settings: { certificates }, clientCertificates: false })
      const device = await authority.issue('device')
      const { output } = await sClient(port, ['-cert', device.certificate, '-key', device.key])
      match(output, /No client certificate CA names sent/)
      doesNotMatch(output, /Requested Signature Algorithms/)
      await until('it', () => taken.length === 1)
      equal(taken[0]?.facts.tls.certificate, undefined)
    })

    it('a certificate without its key is worth nothing', async (t) => {
      const { port, taken, failures } = await startFront(t, { settings: { certificates } })
      const device = await authority.issue('device')
      const shown = { key: await readFile(device.key), cert: await readFile(device.certificate) }
      const options = { ...shown, maxVersion: 'TLSv1.2' } as const
      // No client signs with a wrong key, so the signature is damaged on its way; with TLS 1.2 it can be seen.
      let damaged = 0
      const spoilt = await relay(t, port, {
        later: (data) => {
          const signature = certificateVerifyIn(data)
          if (signature === undefined) return data
          damaged += 1
          return Buffer.concat([data.subarray(0, signature), Buffer.from([1]), data.subarray(signature + 1)])
        },
      })
      await rejects(secure(t, spoilt, options))
      deepEqual([damaged, taken.length, failures.get('handshake')], [1, 0, 1])
      await nextText(await secure(t, port, options))
      equal(taken.length, 1)
    })
  })

  describe('the PROXY protocol', () => {
    const begin = async (t: Parameters<typeof startFront>[0], header: Buffer) => {
      const started = await startFront(t, { settings: { certificates }, proxyProtocol: true })
      const port = await relay(t, started.port, { first: (first) => [Buffer.concat([header, first])] })
      return { ...started, port }
    }
    const headers: [name: string, header: Buffer, sourceIp: string][] = [
      ['version 1, IPv4', Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 54321 443\r\n'), '203.0.113.7'],
      ['version 1, IPv6', Buffer.from('PROXY TCP6 2001:db8:0::7 ::1 54321 443\r\n'), '2001:db8::7'],
      ['version 1, IPv4 in IPv6', Buffer.from('PROXY TCP6 ::ffff:203.0.113.7 ::1 5 443\r\n'), '203.0.113.7'],
      ['version 1, unknown', Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'],
      ['version 2, IPv4', proxyV2(0x21, 0x11, ipv4), '203.0.113.7'],
      [
        'version 2, IPv6 with more behind it',
        proxyV2(0x21, 0x21, Buffer.concat([Buffer.from('20010db8'.padEnd(31, '0') + '7', 'hex'), Buffer.alloc(40)])),
        '2001:db8::7',
      ],
      ['version 2, the balancer itself', proxyV2(0x20, 0x00, Buffer.alloc(0)), '127.0.0.1'],
    ]
    for (const [name, header, sourceIp] of headers) {
      it(name, async (t) => {
        const { port, taken } = await begin(t, header)
        equal(await nextText(await secure(t, port, { servername: 'localhost' })), 'http')
        deepEqual(taken[0]?.facts, { tls: { serverName: 'localhost' }, sourceIp })
      })
    }

    it('byte by byte', async (t) => {
      const started = await startFront(t, { settings: { certificates }, proxyProtocol: true })
      for (const header of [headers[0]?.[1], headers[5]?.[1]]) {
        const first = (data: Buffer) => {
          const bytes = Buffer.concat([header ?? Buffer.alloc(0), data.subarray(0, 60)])
          return [...[...bytes].map((byte) => Buffer.from([byte])), data.subarray(60)]
        }
        const port = await relay(t, started.port, { first })
        equal(await nextText(await secure(t, port)), 'http')
      }
      deepEqual(
        started.taken.map(({ facts }) => facts.sourceIp),
        ['203.0.113.7', '2001:db8::7'],
      )
    })

    it('absent or malformed, the connection is closed', async (t) => {
      const { port, taken, failures } = await startFront(t, { settings: { certificates }, proxyProtocol: true })
      const wrong = [handmadeHello(), Buffer.from('PROXY TCP4 x y 1 2\r\n'), proxyV2(0x21, 0x11, ipv4.subarray(1))]
      for (const bytes of wrong) {
        const raw = await dial(t, port)
        raw.socket.write(bytes)
        await raw.ended
        equal(raw.received.length, 0)
      }
      equal(failures.get('proxy'), wrong.length)
      equal(taken.length, 0)
    })

    it('not configured, a header is no TLS', async (t) => {
      const { port, failures } = await startFront(t, { settings: { certificates } })
      const raw = await dial(t, port)
      raw.socket.write(headers[0]?.[1] ?? '')
      await raw.ended
      equal(failures.get('not-tls'), 1)
    })

    it('a health check leaves no trace', async (t) => {
      const { port, failures, log, front } = await startFront(t, { settings: { certificates }, proxyProtocol: true })
      for (const bytes of [Buffer.alloc(0), proxyV2(0x20, 0x00, Buffer.alloc(0))]) {
        const raw = await dial(t, port)
        raw.socket.end(bytes)
        await raw.ended
      }
      await front.close(1_000)
      deepEqual([failures.size, log.lines], [0, []])
    })
  })

  describe('the ClientHello', () => {
    it('split over segments and over records', async (t) => {
      const started = await startFront(t, { settings: { certificates } })
      const split: ((first: Buffer) => readonly Buffer[])[] = [
        (first) => [...first].map((byte) => Buffer.from([byte])),
        (first) => [first.subarray(0, 5), first.subarray(5, 100), first.subarray(100)],
        (first) => [inRecords(first.subarray(5), Math.ceil(first.length / 30))],
        (first) => [...inRecords(first.subarray(5), Math.ceil(first.length / 25))].map((byte) => Buffer.from([byte])),
      ]
      for (const pieces of split) {
        const port = await relay(t, started.port, { first: pieces })
        for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
          const range = { minVersion: version, maxVersion: version }
          equal(await nextText(await secure(t, port, { servername: 'localhost', ...range })), 'http')
        }
      }
      ok(started.taken.every(({ facts }) => facts.tls.serverName === 'localhost'))
    })

    it('with a retry of TLS 1.3', async (t) => {
      const { port, taken } = await startFront(t, { settings: { certificates } })
      // The client guesses a group that is no good, and is asked for another.
      const { output, version } = await sClient(port, [
        '-tls1_3',
        '-groups',
        'ffdhe2048:P-521',
        '-servername',
        'localhost',
      ])
      equal(version, 'TLSv1.3')
      match(output, /Server Temp Key: ECDH/)
      await until('it', () => taken.length === 1)
    })

    it('oversized, malformed and plain HTTP are closed', async (t) => {
      const { port, taken, failures } = await startFront(t, { settings: { certificates } })
      const send = async (bytes: Buffer | string) => {
        const raw = await dial(t, port)
        raw.socket.write(bytes)
        await raw.ended
        return raw.received.length
      }
      const large = inRecords(handmadeMessage({ extensions: [[21, Buffer.alloc(17_000)]] }))
      const hello = handmadeHello({ serverName: 'localhost' })
      deepEqual(
        [
          await send(large),
          await send(inRecords(hello.subarray(5), 1)),
          await send(handmadeHello({ serverName: 'a b' })),
        ],
        [0, 0, 0],
      )
      equal(failures.get('hello'), 3)
      deepEqual([await send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'), await send('\x10\x0c\x00\x04MQTT')], [0, 0])
      equal(failures.get('not-tls'), 2)
      equal(taken.length, 0)
    })

    it('noise and damaged ones: nothing gets through, nothing is left, and others get in', async (t) => {
      const limits = { handshakeMs: 500, handshakes: 4, greetings: 50 }
      const { port, taken, front } = await startFront(t, { settings: { certificates }, limits })
      const hello = handmadeHello({ serverName: 'localhost' })
      const damaged = fc
        .tuple(fc.nat(hello.length - 1), fc.uint8Array({ minLength: 1, maxLength: 40 }))
        .map(([at, put]) => Buffer.concat([hello.subarray(0, at), put, hello.subarray(at + put.length)]))
      const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
      const send = async (bytes: Buffer) => {
        const raw = await dial(t, port)
        raw.socket.end(bytes)
        await raw.ended
      }
      const batch = fc.array(fc.oneof(noise, damaged), { minLength: 20, maxLength: 20 })
      await fc.assert(
        fc.asyncProperty(batch, async (all) => void (await Promise.all(all.map(send)))),
        { numRuns: 20 },
      )
      equal(taken.length, 0)
      const socket = await secure(t, port)
      equal(await nextText(socket), 'http')
      socket.destroy()
      await front.close(60_000)
    })

    it('those that are slow are closed, wherever they stopped', async (t) => {
      const { port, failures } = await startFront(t, { settings: { certificates }, limits: { handshakeMs: 300 } })
      const hello = handmadeHello({ serverName: 'localhost' })
      // Nothing at all; a part; all of it and then nothing more.
      const raws = await Promise.all(
        [Buffer.alloc(0), hello.subarray(0, 50), hello].map(async (bytes) => {
          const raw = await dial(t, port)
          raw.socket.write(bytes)
          return raw
        }),
      )
      const trickling = await dial(t, port)
      const timer = setInterval(() => trickling.socket.write(Buffer.from([22])), 20)
      t.after(() => clearInterval(timer))
      await Promise.all([...raws, trickling].map(({ ended }) => ended))
      equal(failures.get('timeout'), 3)
      equal(failures.get('hello') ?? failures.get('not-tls'), 1)
    })
  })

  describe('bounds', () => {
    it('handshakes beyond the limit wait for their turn', async (t) => {
      const { port, taken } = await startFront(t, { settings: { certificates }, limits: { handshakes: 2 } })
      const sockets = await Promise.all(Array.from({ length: 40 }, () => secure(t, port)))
      await until('all', () => taken.length === 40)
      equal(sockets.length, 40)
    })

    it('those that die in the middle give their places back', async (t) => {
      const limits = { handshakes: 2, greetings: 5, connections: 8 }
      const { port, taken, failures, front } = await startFront(t, { settings: { certificates }, limits })
      for (let round = 0; round < 30; round++) {
        const raw = await dial(t, port)
        if (round % 3 === 0) raw.socket.resetAndDestroy()
        else {
          raw.socket.write(round % 3 === 1 ? handmadeHello() : handmadeHello().subarray(0, 30))
          if (round % 2 === 0) raw.socket.end()
          else raw.socket.resetAndDestroy()
        }
        await raw.ended
      }
      const { output } = await sClient(port, ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'])
      match(output, /alert protocol version/)
      equal(failures.get('version'), 1)
      equal(await nextText(await secure(t, port)), 'http')
      equal(taken.length, 1)
      taken[0]?.socket.destroy()
      // It ends by itself, so no connection is left.
      await front.close(60_000)
    })

    it('too many that say nothing: the oldest goes, and others get in', async (t) => {
      const { port, failures } = await startFront(t, { settings: { certificates }, limits: { greetings: 3 } })
      const silent = await dial(t, port)
      for (let count = 0; count < 3; count++) await dial(t, port)
      await silent.ended
      equal(await nextText(await secure(t, port)), 'http')
      ok((failures.get('full') ?? 0) >= 1)
    })

    it('too many connections', async (t) => {
      const { port, failures, taken } = await startFront(t, { settings: { certificates }, limits: { connections: 2 } })
      const [first] = await Promise.all([secure(t, port), secure(t, port)])
      await rejects(secure(t, port))
      equal(failures.get('full'), 1)
      first?.destroy()
      await until('one gone', () => taken.some(({ socket }) => socket.destroyed))
      equal(await nextText(await secure(t, port)), 'http')
    })
  })

  describe('reload', () => {
    /** A front on files of its own, and ways to change them. */
    async function start(t: Parameters<typeof startFront>[0], days = 2) {
      const files = { certificate: authority.path('live.pem'), key: authority.path('live.key') }
      const put = async (pair: MadeCertificate) => {
        await copyFile(pair.certificate, files.certificate)
        await copyFile(pair.key, files.key)
      }
      const first = await authority.issue('first', { names: ['localhost'], days })
      await put(first)
      return { ...(await startFront(t, { settings: { certificates: [files] } })), files, put, first }
    }
    const subject = async (port: number) => (await sClient(port, [])).subject

    it('new connections get the new certificate, the old ones go on', async (t) => {
      const { port, front, files, put } = await start(t)
      deepEqual(front.files(), [files.certificate, files.key])
      const old = await secure(t, port)
      equal(await nextText(old), 'http')
      equal(await subject(port), 'first')
      await put(await authority.issue('second', { kind: 'rsa', names: ['localhost'] }))
      equal(await subject(port), 'first')
      await front.reload()
      equal(await subject(port), 'second')
      old.write('still there')
      equal(await nextText(old), 'still there')
    })

    it('a handshake that has begun is not cut', async (t) => {
      const { port, front, put } = await start(t)
      const sockets = Array.from({ length: 20 }, () => secure(t, port))
      await put(await authority.issue('second', { names: ['localhost'] }))
      await Promise.all([front.reload(), front.reload(), ...sockets])
      equal(await subject(port), 'second')
    })

    it('a pair that cannot be served leaves the old one in force', async (t) => {
      const { port, front, files, put, first, log } = await start(t)
      const other = await authority.issue('other')
      await copyFile(other.key, files.key)
      const refused = (expected: RegExp) =>
        rejects(front.reload(), (error: Error & { code?: string }) => {
          equal(error.code, 'CONFIG_INVALID')
          match(error.message, expected)
          doesNotMatch(error.message, /BEGIN/)
          return true
        })
      await refused(/^tls\.certificates\.0\.key does not belong to its certificate \(.*live\.key\)$/)
      equal(await subject(port), 'first')
      await writeFile(files.certificate, '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n')
      await refused(/holds no certificate that can be read/)
      equal(await subject(port), 'first')
      const lines = log.lines.filter(({ level }) => level === 'error')
      deepEqual(lines.length, 2)
      match(String(lines[0]?.facts['error']), /live\.key/)
      doesNotMatch(JSON.stringify(log.lines), /BEGIN|[A-Za-z0-9+/]{60}/)
      await put(first)
      await front.reload()
      equal(await subject(port), 'first')
    })

    it('an expired one does not replace one that is valid, and is served where there is none', async (t) => {
      const { port, front, put, log } = await start(t)
      const pair = await authority.issue('expired', { names: ['localhost'], days: -1 })
      await put(pair)
      await rejects(front.reload(), /tls\.certificates\.0\.certificate has expired/)
      equal(await subject(port), 'first')
      const alone = await startFront(t, { settings: { certificates: [pair] } })
      equal(await subject(alone.port), 'expired')
      ok(alone.log.lines.some(({ level, message }) => level === 'warn' && message.includes('has expired')))
      await alone.front.reload()
      ok(log.lines.some(({ level }) => level === 'error'))
    })
  })

  describe('listen and close', () => {
    it('what is wrong with a certificate stops it, with setting and file', async (t) => {
      const settings = { certificates: [{ certificate: authority.path('gone.pem'), key: authority.path('gone.key') }] }
      await rejects(startFront(t, { settings, setting: 'listen.mqtts' }), (error: Error & { code?: string }) => {
        equal(error.code, 'LISTEN_FAILED')
        match(error.message, /^listen\.mqtts: tls\.certificates\.0\.certificate: there is no file .*gone\.pem; tls\./)
        return true
      })
    })

    it('a port that is taken', async (t) => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      t.after(() => server.close())
      const { front, port } = await startFront(t, { settings: { certificates } })
      const other = await startFront(t, { settings: { certificates } })
      await other.front.close(0)
      await rejects(front.listen({ host: '127.0.0.1', port }), /listen/i)
      await rejects(other.front.listen({ host: '127.0.0.1', port }), (error: Error & { code?: string }) => {
        equal(error.code, 'LISTEN_FAILED')
        match(error.message, new RegExp(`^listen\\.https: 127\\.0\\.0\\.1:${port} is taken: `))
        return true
      })
    })

    it('a door that throws costs its connection only', async (t) => {
      const { port, log } = await startFront(t, {
        settings: { certificates },
        onConnection: () => {
          throw new Error('no')
        },
      })
      const socket = await secure(t, port)
      await once(socket, 'close')
      deepEqual(
        log.lines.map(({ level, facts }) => [level, facts['error']]),
        [['error', 'no']],
      )
    })

    it('close ends those that are not through, waits for the others, and cuts what is left', async (t) => {
      const { port, front, taken } = await startFront(t, { settings: { certificates } })
      const through = await secure(t, port)
      await nextText(through)
      const silent = await dial(t, port)
      const halfway = await dial(t, port)
      halfway.socket.write(handmadeHello())
      await until('a ServerHello', () => halfway.received.length > 0)
      let closed = false
      const closing = front.close(60_000).then(() => (closed = true))
      await Promise.all([silent.ended, halfway.ended])
      await rejects(dial(t, port), /ECONNREFUSED/)
      through.write('still there')
      equal(await nextText(through), 'still there')
      equal(closed, false)
      taken[0]?.socket.end()
      await closing
      const other = await startFront(t, { settings: { certificates } })
      const left = await secure(t, other.port)
      await other.front.close(10)
      await once(left, 'close')
      equal(other.front.address(), undefined)
    })
  })
})

/** Where the signature of a plain CertificateVerify ends, in whole records of TLS 1.2; undefined where there is none. */
function certificateVerifyIn(data: Buffer): number | undefined {
  for (let at = 0; at + 6 <= data.length; at += 5 + data.readUInt16BE(at + 3)) {
    if (data[at] === 22 && data[at + 5] === 15) return at + 5 + data.readUInt16BE(at + 3) - 1
    // What follows is encrypted.
    if (data[at] === 20) return undefined
  }
  return undefined
}
