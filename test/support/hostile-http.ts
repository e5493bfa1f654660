import * as fc from 'fast-check'
import type { Attempt, HostileDoor, Pair } from './hostile.ts'
import type { Lures, SignedHeaders } from './hostile-lures.ts'
import { canary, cutAnywhere, mutatedBytes, mutatedText, sameToken } from './hostile-text.ts'
import { upgradeRequest } from './hostile-websocket.ts'

type Headers = Readonly<Record<string, string>>

/** A request that is HTTP, with a credential that is wrong. */
interface Wrong {
  readonly kind: string
  readonly headers?: Headers
  /** Header lines that a record can't hold: two of one name. */
  readonly lines?: readonly string[]
  /** Behind the path, without its `?`. */
  readonly query?: string
  readonly path?: string
  readonly body?: string
  /** Of an upgrade to a WebSocket, and not of a publish. */
  readonly upgrades?: boolean | undefined
}

const withoutBlanks = (text: string) => text.replaceAll(' ', '')
const flipped = (hex: string) => hex.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'))

function bearers(lures: Lures): fc.Arbitrary<Wrong> {
  const token = fc.oneof(
    fc.constantFrom(canary, '', ' ', 'null', `${canary}${'b'.repeat(9_000)}`, ...lures.wrongJwts),
    mutatedText(lures.token),
    mutatedText(lures.jwt).filter((changed) => !sameToken(changed, lures.jwt)),
  )
  const scheme = fc.constantFrom('Bearer', 'Bearer', 'bearer', 'BEARER ', 'Bearer:', 'Token', '')
  return fc.tuple(scheme, token, fc.nat(5)).map(([name, value, how]) => {
    const header = `authorization: ${name} ${value}`
    // Two of them are none, whatever the other one is.
    return { kind: 'bearer', lines: how === 0 ? [header, `Authorization: Bearer ${lures.token}`] : [header] }
  })
}

function basics(lures: Lures): fc.Arbitrary<Wrong> {
  const right = `pw:${lures.password}`
  const encoded = Buffer.from(right).toString('base64')
  const text = fc.oneof(
    fc.constantFrom(
      '',
      ':',
      'pw',
      'pw:',
      `:${lures.password}`,
      `tok:${lures.password}`,
      `pw:${lures.token}`,
      `${canary}:${canary}`,
      `pw\0:${lures.password}`,
    ),
    mutatedText(right).filter((changed) => changed !== right),
  )
  const header = fc.oneof(
    text.map((plain) => Buffer.from(plain).toString('base64')),
    mutatedText(encoded).filter((changed) => Buffer.from(changed, 'base64').toString('latin1') !== right),
    fc.constantFrom('!!!', 'A'.repeat(9_000), '=', `${encoded}=====x`),
  )
  return header.map((value) => ({ kind: 'basic', headers: { authorization: `Basic ${value}` } }))
}

function signatures(lures: Lures, door: 'http' | 'https'): fc.Arbitrary<Wrong> {
  const signed = lures.signed[door]
  const authorization = signed['authorization'] ?? ''
  const wrong = `${authorization.slice(0, -64)}${flipped(authorization.slice(-64))}`
  const changed = (name: string, value: string): SignedHeaders => ({ ...signed, [name]: value })
  return fc.oneof(
    fc.constantFrom<Wrong[]>(
      { kind: 'SigV4: signature', headers: changed('authorization', wrong) },
      { kind: 'SigV4: another path', headers: signed, path: '/topics/ok/y' },
      { kind: 'SigV4: another reading of the path', headers: signed, path: '/topics/ok/../ok/x' },
      { kind: 'SigV4: another body', headers: signed, body: 'y' },
      { kind: 'SigV4: a query', headers: signed, query: 'qos=1' },
      { kind: 'SigV4: another date', headers: changed('x-amz-date', '20150830T123600Z') },
      { kind: 'SigV4: no date', headers: { host: signed['host'] ?? '', authorization } },
      { kind: 'SigV4: another host', headers: changed('host', 'localhost') },
      { kind: 'SigV4: twice', headers: signed, lines: [`authorization: ${wrong}`] },
      { kind: 'SigV4: unsigned body', headers: { ...signed, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }, body: 'y' },
      { kind: 'SigV4: other key', headers: changed('authorization', authorization.replace('AKID', 'AKIE')) },
      {
        kind: 'SigV4: nothing signed',
        headers: changed('authorization', authorization.replace('host;x-amz-date', 'host')),
      },
    ),
    mutatedText(authorization)
      .filter((text) => withoutBlanks(text) !== withoutBlanks(authorization))
      .map((text) => ({ kind: 'SigV4: mutated header', headers: changed('authorization', text) })),
  )
}

function signedUrls(lures: Lures, door: 'http' | 'https'): fc.Arbitrary<Wrong> {
  const query = lures.signedQuery[door]
  const host = lures.signed[door]['host'] ?? ''
  const read = (text: string): string => {
    try {
      return decodeURIComponent(text)
    } catch {
      return text
    }
  }
  return (
    fc
      .oneof(
        fc.constantFrom(
          flipped(query),
          query.replace(/X-Amz-Expires=\d+/, 'X-Amz-Expires=604800'),
          query.replace('SignedHeaders=host', 'SignedHeaders=host%3Bhost'),
          `${query}&X-Amz-Signature=${'0'.repeat(64)}`,
          `${query}&${query}`,
          query.slice(0, query.indexOf('&X-Amz-Signature')),
          `X-Amz-Credential=${canary}`,
          `X-Amz-Signature=%00&X-Amz-Algorithm=%`,
        ),
        mutatedText(query).filter((text) => read(text) !== read(query)),
      )
      // What begins with `#` is no query.
      .filter((text) => !text.includes('#'))
      .map((text) => ({ kind: 'signed URL', headers: { host }, query: text, upgrades: true }))
  )
}

function authorizers(lures: Lures): fc.Arbitrary<Wrong> {
  const name = 'x-amz-customauthorizer-name'
  const { authorizerToken } = lures
  const value = encodeURIComponent(authorizerToken)
  return fc.oneof(
    fc.constantFrom<Wrong[]>(
      { kind: 'authorizer: wrong token', headers: { [name]: 'tokens', token: canary } },
      { kind: 'authorizer: unknown', headers: { [name]: canary, token: authorizerToken } },
      { kind: 'authorizer: several', headers: { [name]: 'tokens', token: authorizerToken }, query: `${name}=other` },
      { kind: 'authorizer: two tokens', headers: { [name]: 'tokens', token: authorizerToken }, query: 'token=x' },
      { kind: 'authorizer: prototype', headers: { [name]: '__proto__', token: authorizerToken } },
      { kind: 'authorizer: query', query: `${name}=tokens&token=${value}x` },
      { kind: 'authorizer: escapes', query: `${name}=tokens&token=%E0%A4%A` },
      { kind: 'authorizer: half a name', query: `${name.slice(0, -1)}=tokens&token=${value}` },
      { kind: 'authorizer: long', headers: { [name]: 'tokens', token: `${canary}${'t'.repeat(8_000)}` } },
      {
        kind: 'authorizer: signature',
        headers: { [name]: 'signed', token: canary, 'x-amz-customauthorizer-signature': canary },
      },
      { kind: 'authorizer: no token', headers: { [name]: 'tokens' } },
    ),
    mutatedText('tokens').map((text) => ({
      kind: 'authorizer: mutated name',
      headers: { [name]: text, token: authorizerToken },
    })),
    mutatedText(authorizerToken).map((text) => ({
      kind: 'authorizer: mutated token',
      headers: { [name]: 'tokens', token: text },
    })),
  )
}

function webhooks({ webhook }: Lures): fc.Arbitrary<Wrong> {
  const names = Object.keys(webhook)
  return fc.oneof(
    fc.constantFrom<Wrong[]>(
      { kind: 'webhook: another body', headers: webhook, body: 'y' },
      { kind: 'webhook: no body', headers: webhook, body: '' },
      ...names.map((name) => ({
        kind: `webhook: no ${name}`,
        headers: Object.fromEntries(Object.entries(webhook).filter(([key]) => key !== name)),
      })),
      { kind: 'webhook: many', headers: { ...webhook, 'webhook-signature': 'v1,AAAA '.repeat(500) } },
      { kind: 'webhook: of another', headers: { ...webhook, 'x-sluice-principal': 'tok' } },
    ),
    fc.constantFrom(...names).chain((name) =>
      mutatedText(webhook[name] ?? '').map((text) => ({
        kind: `webhook: mutated ${name}`,
        headers: { ...webhook, [name]: text },
      })),
    ),
  )
}

/** A request of which nothing is wrong but its credential. */
function requestBytes({ headers = {}, lines = [], query, path = '/topics/ok/x', body = 'x', upgrades }: Wrong): Buffer {
  const own = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const search = query === undefined ? '' : `?${query}`
  if (upgrades === true) {
    const shown = own.filter((line) => !line.startsWith('host:'))
    const request = upgradeRequest([...shown, ...lines], `/mqtt${search}`)
    // Who signs the host's name sends it.
    const { host = 'localhost' } = headers
    return Buffer.from(request.toString('latin1').replace('Host: localhost', `Host: ${host}`), 'latin1')
  }
  const host = 'host' in headers ? [] : ['host: localhost']
  const length = `content-length: ${Buffer.byteLength(body)}`
  const head = [`POST ${path}${search} HTTP/1.1`, ...host, ...own, ...lines, length, 'connection: close', '', body]
  return Buffer.from(head.join('\r\n'), 'latin1')
}

/** Credentials of every kind over HTTP, each a little wrong. */
export function wrongCredential(lures: Lures, mute: Pair): fc.Arbitrary<Attempt> {
  return fc.constantFrom('http' as const, 'https' as const).chain((door) =>
    fc
      .tuple(
        fc.oneof(
          bearers(lures),
          basics(lures),
          signatures(lures, door),
          signedUrls(lures, door),
          authorizers(lures),
          webhooks(lures),
        ),
        fc.boolean(),
        fc.nat(9),
      )
      .chain(([wrong, upgrades, how]) => {
        // What a WebSocket's upgrade shows to an authorizer is judged at CONNECT; a webhook is none of it.
        const asUpgrade = wrong.upgrades ?? (upgrades && /^(?:bearer|basic)/.test(wrong.kind))
        const proved = door === 'https' && how === 1
        return cutAnywhere(requestBytes({ ...wrong, upgrades: asUpgrade })).map((chunks) => ({
          kind: `${wrong.kind}${asUpgrade ? ', for a WebSocket' : ''}`,
          door: asUpgrade ? ({ http: 'ws', https: 'wss' } as const)[door] : door,
          chunks,
          // Of an upgrade that shows nothing, the answer is to a CONNECT.
          complete: !asUpgrade && how !== 0,
          breaksOff: how === 0,
          ...(proved && { proved, certificate: mute }),
        }))
      }),
  )
}

const requestLine = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('POST /topics/ok/x HTTP/1.1', 'POST /messages HTTP/1.1') },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom(
          'POST',
          'GET',
          'PUT',
          'DELETE',
          'OPTIONS',
          'TRACE',
          'CONNECT',
          'HEAD',
          'PRI',
          'post',
          '',
          'P\0ST',
          'M'.repeat(9_000),
        ),
        fc.constantFrom(
          '/topics/ok/x',
          '/messages',
          '/topics/',
          '/topics/%00',
          '/topics/%E0%A4%A',
          '/topics/ok/../../healthz/x',
          '//topics//ok//x',
          'http://localhost/topics/ok/x',
          'localhost:443',
          '*',
          '/topics/ok/x?qos=1&qos=2&__proto__=x',
          '/metrics',
          '/reload',
          '/?',
          ' ',
          `/${'u'.repeat(20_000)}`,
        ),
        fc.constantFrom('HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 x', 'ICE/1.0', ''),
      )
      .map((parts) => parts.join(' ')),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 60 }) },
)

const headerLine = fc.oneof(
  fc.constantFrom(
    'Host: localhost',
    'Host:',
    'Host: a\r\nHost: b',
    'Content-Length: 5',
    'Content-Length: -1',
    'Content-Length: 99999999999999999999',
    'Content-Length: 5, 5',
    'Content-Length: +5',
    'Content-Length : 5',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked, identity',
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding:\tchunked',
    ' folded: line',
    'No-Colon',
    ': no name',
    'N\0ul: x',
    'Expect: 100-continue',
    'Expect: something',
    'Connection: keep-alive, Upgrade',
    'Connection: close',
    'Upgrade: h2c',
    'Upgrade: websocket',
    'HTTP2-Settings: AAMAAABkAAQAAP__',
    'Content-Type: application/x-ndjson; charset="',
    'Content-Encoding: gzip',
    'Trailer: Authorization',
    `X-Long: ${'h'.repeat(17_000)}`,
    `Authorization: Bearer ${canary}`,
    'Authorization:',
    'x-amz-mqtt5-user-properties: [{',
    'X-Forwarded-For: 127.0.0.1',
    '__proto__: x',
  ),
  fc.constant(Array.from({ length: 150 }, (_, index) => `h${index}: x`).join('\r\n')),
  fc.string({ maxLength: 40 }),
)

const body = fc.constantFrom(
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '5\r\nhel',
  'FFFFFFFFFFFFFFFFF\r\nx',
  '-1\r\nx\r\n0\r\n\r\n',
  `5;${'e'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`,
  '0\r\nAuthorization: Bearer x\r\n\r\n',
  '5\nhello\n0\n\n',
  '[{"topic":"ok/x","payload":1}]',
  '['.repeat(100_000),
)

/** What a front door and we might read differently: it stands where a body or its end would. */
const next = fc.constantFrom(
  '',
  '',
  'POST /topics/ok/x HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nhostile',
  'GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  '\r\n\r\n\r\n',
  '\0\0\0\0',
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  '\x16\x03\x01\x00\x05hello',
)

/** Bytes that are almost HTTP, with nothing in them that would prove anybody. */
export function malformedHttp(mute: Pair): fc.Arbitrary<Attempt> {
  const text = fc
    .tuple(
      requestLine,
      fc.array(headerLine, { maxLength: 3 }),
      fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r'),
      body,
      next,
    )
    .map(([line, headers, end, content, more]) =>
      Buffer.from(`${[line, 'Host: x', ...headers, '', ''].join(end)}${content}${more}`, 'latin1'),
    )
  const bytes = fc.oneof(
    { weight: 4, arbitrary: text },
    { weight: 1, arbitrary: text.chain((whole) => mutatedBytes(whole)) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 200 }).map((all) => Buffer.from(all)) },
  )
  const at = fc.constantFrom<{ readonly door: HostileDoor; readonly proved?: boolean }[]>(
    { door: 'http' },
    { door: 'http' },
    { door: 'https' },
    { door: 'https', proved: true },
  )
  return fc.tuple(at, bytes, fc.nat(9)).chain(([where, all, how]) =>
    cutAnywhere(all).map((chunks) => ({
      kind: 'malformed HTTP',
      ...where,
      ...(where.proved === true && { certificate: mute }),
      chunks,
      complete: false,
      breaksOff: how === 0,
    })),
  )
}
