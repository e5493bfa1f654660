import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { isIP } from 'node:net'
import { it } from 'node:test'
import fc from 'fast-check'
import { type ProxyHeader, readProxyHeader } from '../../../src/ingest/tls/proxy-header.ts'
import { proxyV2 } from './proxy-v2.ts'

const v1 = (line: string): Buffer => Buffer.from(`${line}\r\n`, 'latin1')
const refusedFor = (bytes: Buffer): string => {
  const found = readProxyHeader(bytes)
  return found.kind === 'refused' ? found.detail : found.kind
}
const source4 = Buffer.from([203, 0, 113, 7, 10, 0, 0, 1, 0xd4, 0x31, 1, 0xbb])
const source6 = Buffer.concat([
  Buffer.from('20010db8000000000000000000000001', 'hex'),
  Buffer.alloc(16),
  Buffer.from([0xd4, 0x31, 1, 0xbb]),
])

const right: [header: Buffer, source: string | undefined][] = [
  [v1('PROXY TCP4 203.0.113.7 10.0.0.1 54321 443'), '203.0.113.7'],
  [v1('PROXY TCP6 2001:DB8:0:0::1 ::1 0 65535'), '2001:db8::1'],
  [v1('PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2'), '::ffff:203.0.113.7'],
  [v1('PROXY UNKNOWN'), undefined],
  [v1('PROXY UNKNOWN ffff:f...f:ffff whatever it likes'), undefined],
  [proxyV2(0x21, 0x11, source4), '203.0.113.7'],
  [proxyV2(0x21, 0x21, source6), '2001:db8::1'],
  // What follows the addresses, such as AWS's endpoint id, belongs to the header.
  [proxyV2(0x21, 0x11, Buffer.concat([source4, Buffer.from([0xea, 0, 2, 1, 65])])), '203.0.113.7'],
  [proxyV2(0x20, 0x00, Buffer.alloc(0)), undefined],
  [proxyV2(0x20, 0x11, source4), undefined],
  [proxyV2(0x21, 0x00, Buffer.alloc(5)), undefined],
  [proxyV2(0x21, 0x31, Buffer.alloc(216)), undefined],
]

it('versions 1 and 2, and their length', () => {
  for (const [header, source] of right) {
    const following = Buffer.concat([header, Buffer.from([22, 3, 1, 0, 200])])
    deepEqual(readProxyHeader(following), { kind: 'header', length: header.length, source })
  }
})

it('cut anywhere it asks for more, at most for what is there', () => {
  for (const [header] of right) {
    for (let length = 0; length < header.length; length++) {
      const found = readProxyHeader(header.subarray(0, length))
      ok(
        found.kind === 'more' && found.need > length && found.need <= header.length,
        `${length} of ${header.toString('latin1')}`,
      )
    }
  }
})

it('none is told at its first byte', () => {
  for (const bytes of [
    Buffer.from([22, 3, 1]),
    Buffer.from('GET /'),
    Buffer.from('P\r\n'),
    Buffer.from('\r\n\r\n\r'),
  ]) {
    equal(refusedFor(bytes), 'there is no PROXY header')
  }
})

it('malformed lines', () => {
  const lines = [
    'PROXY ',
    'PROXY TCP4',
    'PROXY TCP5 203.0.113.7 10.0.0.1 1 2',
    'PROXY TCP4 203.0.113.7 10.0.0.1 1',
    'PROXY TCP4 203.0.113.7 10.0.0.1 1 2 3',
    'PROXY TCP4  203.0.113.7 10.0.0.1 1 2',
    'PROXY TCP4 203.0.113.700 10.0.0.1 1 2',
    'PROXY TCP4 203.0.113.7 localhost 1 2',
    'PROXY TCP4 2001:db8::1 10.0.0.1 1 2',
    'PROXY TCP6 203.0.113.7 ::1 1 2',
    'PROXY TCP6 fe80::1%eth0 ::1 1 2',
    'PROXY TCP4 203.0.113.7 10.0.0.1 65536 2',
    'PROXY TCP4 203.0.113.7 10.0.0.1 1 99999',
    'PROXY TCP4 203.0.113.7 10.0.0.1 -1 2',
    'PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n',
    'PROXY tcp4 203.0.113.7 10.0.0.1 1 2',
    'PROXY UNKNOWNX',
  ]
  for (const line of lines) match(refusedFor(v1(line)), /PROXY line/, line)
  match(refusedFor(Buffer.from(`PROXY UNKNOWN ${'x'.repeat(100)}\r\n`)), /too long/)
  match(refusedFor(Buffer.from('PROXY TCP4 203.0.113.7 10.0.0.1 1 2\n'.padEnd(107, 'x'))), /too long/)
})

it('malformed headers of version 2', () => {
  const cases: [RegExp, Buffer][] = [
    [/no known command/, proxyV2(0x11, 0x11, source4)],
    [/no known command/, proxyV2(0x22, 0x11, source4)],
    [/not about TCP/, proxyV2(0x21, 0x12, source4)],
    [/not about TCP/, proxyV2(0x21, 0x41, source4)],
    [/too short/, proxyV2(0x21, 0x11, source4.subarray(1))],
    [/too short/, proxyV2(0x21, 0x21, source6.subarray(1))],
    // Its head says it, so nothing is waited for.
    [/too long/, proxyV2(0x21, 0x11, Buffer.alloc(5_000)).subarray(0, 16)],
  ]
  for (const [expected, bytes] of cases) match(refusedFor(bytes), expected)
})

it('any bytes: it never throws, asks for no more than its bound, and gives addresses only', () => {
  const sane = (bytes: Buffer, found: ProxyHeader): boolean => {
    if (found.kind === 'more') return found.need > bytes.length && found.need <= 4_096
    if (found.kind === 'header')
      return found.length <= bytes.length && (found.source === undefined || isIP(found.source) > 0)
    return true
  }
  const noise = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
  const words = fc.constantFrom('TCP4', 'TCP6', 'UNKNOWN', '203.0.113.7', '::1', '1', '65536', ' ', '\r', '\n', '')
  const line = fc.array(words, { maxLength: 9 }).map((parts) => v1(`PROXY ${parts.join(' ')}`))
  const header = fc
    .tuple(fc.nat(255), fc.nat(255), noise)
    .map(([command, family, rest]) => proxyV2(command, family, rest))
  const known = fc
    .tuple(fc.constantFrom(0x20, 0x21), fc.constantFrom(0, 0x11, 0x21, 0x31), noise)
    .map(([command, family, rest]) => proxyV2(command, family, rest))
  fc.assert(
    fc.property(fc.oneof(noise, line, header, known), fc.nat(400), (bytes, cut) => {
      const part = bytes.subarray(0, cut)
      return sane(bytes, readProxyHeader(bytes)) && sane(part, readProxyHeader(part))
    }),
    { numRuns: 10_000 },
  )
})
