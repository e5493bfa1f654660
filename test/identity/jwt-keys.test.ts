import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { issuerSchema } from '../../src/identity/jwt/issuer.ts'
import { createKeySet, keySetTimes } from '../../src/identity/jwt/key-set.ts'
import { jwt } from '../../src/identity/jwt.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { authContext } from '../support/auth-context.ts'
import { makeCertificates } from '../support/certificates.ts'
import { directoryOf } from '../support/directory.ts'
import { keepLines } from '../support/logs.ts'
import { startOidc, type Change, type Oidc } from '../support/oidc.ts'

const { cooldown, retry, fresh, stale } = keySetTimes

/** The method over one issuer, with a clock that the test moves. Tokens are for ten days, to outlive what it does. */
function over(oidc: Oidc, more: Readonly<Record<string, unknown>> = {}) {
  const settings = { name: 'company', issuer: oidc.issuer, jwks: oidc.jwks, audience: ['sluice'], ...more }
  const { jwks, ...rest } = settings
  const issuer = issuerSchema.parse(jwks === undefined ? rest : settings)
  const log = keepLines()
  let ahead = 0
  const context = authContext(createRegistry(directoryOf({ sections: { issuers: [issuer] } })), {
    log,
    now: () => Date.now() + ahead,
  })
  const { authenticate } = jwt.open(context)
  return {
    log,
    context,
    warnings: () => log.lines.filter(({ level }) => level === 'warn').map(({ facts }) => String(facts['error'])),
    later: (ms: number) => void (ahead += ms),
    takes: async (token: string) => (await authenticate({ protocol: 'http', bearer: token })).kind === 'principal',
  }
}

const long: Change = (claims) => (claims['exp'] = Math.floor(Date.now() / 1000) + 864_000)
const unknownKey =
  (kid: string): Change =>
  (claims, header) => {
    long(claims, header)
    header['kid'] = kid
  }
const count = ({ requests }: Oidc, path: string) => requests.filter((asked) => asked === path).length

describe('jwt: keys from an address', () => {
  it('fetches them once for all who come together, and not again for those after', async (test) => {
    const oidc = await startOidc(test)
    const token = await oidc.token()
    const { takes } = over(oidc)
    assert.deepEqual(await Promise.all([takes(token), takes(token), takes(token)]), [true, true, true])
    assert.ok(await takes(token))
    assert.deepEqual(oidc.requests, ['/jwks'])
  })

  for (const algorithm of ['RS256', 'PS384', 'ES256', 'ES512', 'EdDSA']) {
    it(`takes ${algorithm}`, async (test) => {
      const oidc = await startOidc(test, { algorithm })
      assert.ok(await over(oidc, { algorithms: [algorithm] }).takes(await oidc.token()))
      assert.ok(!(await over(oidc, { algorithms: ['RS512'] }).takes(await oidc.token())))
    })
  }

  it('takes a new key after the cooldown at most, and the old one until it is withdrawn', async (test) => {
    const oidc = await startOidc(test)
    const old = await oidc.token(long)
    const { takes, later } = over(oidc)
    assert.ok(await takes(old))
    await oidc.rotate()
    const second = await oidc.token(long)
    assert.ok(!(await takes(second)))
    later(cooldown - 1_000)
    assert.ok(!(await takes(second)))
    assert.equal(count(oidc, '/jwks'), 1)
    later(2_000)
    assert.ok(await takes(second))
    assert.ok(await takes(old))
    assert.equal(count(oidc, '/jwks'), 2)

    await oidc.rotate({ withdraw: true })
    const third = await oidc.token(long)
    later(cooldown)
    assert.ok(await takes(third))
    assert.ok(!(await takes(old)))
    assert.ok(!(await takes(second)))
    assert.equal(count(oidc, '/jwks'), 3)
  })

  it('refuses a withdrawn key when the keys are no longer fresh, though nobody shows a new one', async (test) => {
    const oidc = await startOidc(test)
    const old = await oidc.token(long)
    const { takes, later } = over(oidc)
    assert.ok(await takes(old))
    await oidc.rotate({ withdraw: true })
    assert.ok(await takes(old))
    later(fresh)
    assert.ok(!(await takes(old)))
  })

  it('is led to no more than one fetch a cooldown by unknown keys', async (test) => {
    const oidc = await startOidc(test)
    const { takes, later } = over(oidc)
    const good = await oidc.token(long)
    const flood = await Promise.all(
      Array.from({ length: 200 }, (_, index) => oidc.token(unknownKey(`unknown-${index}`))),
    )
    for (let round = 1; round <= 3; round++) {
      const taken = await Promise.all(flood.map(takes))
      assert.ok(taken.every((one) => !one))
      assert.ok(await takes(good))
      // The first round begins without keys, and what unknown keys then ask for is within its cooldown.
      assert.equal(count(oidc, '/jwks'), round)
      later(cooldown)
    }
  })

  it('goes on with the keys it has while the issuer is away, for a time', async (test) => {
    const oidc = await startOidc(test)
    const token = await oidc.token(long)
    const { takes, later, log, warnings } = over(oidc)
    assert.ok(await takes(token))
    oidc.answer = (request) => request.socket.destroy()
    later(fresh)
    assert.ok(await takes(token))
    assert.equal(count(oidc, '/jwks'), 2)
    // Not again at once.
    assert.ok(await takes(token))
    assert.equal(count(oidc, '/jwks'), 2)
    later(retry)
    assert.ok(await takes(token))
    assert.equal(count(oidc, '/jwks'), 3)
    assert.equal(warnings().length, 1)

    later(stale - fresh)
    assert.ok(!(await takes(token)))
    oidc.answer = undefined
    later(retry)
    assert.ok(await takes(token))
    assert.match(log.lines.at(-1)?.message ?? '', /could be fetched again/)
  })

  it('asks an issuer that fails no more than once a while, before it has any keys too', async (test) => {
    const oidc = await startOidc(test)
    const token = await oidc.token(long)
    const { takes, later } = over(oidc)
    oidc.answer = (_, response) => response.writeHead(503).end('token: secret')
    await Promise.all(Array.from({ length: 50 }, () => takes(token)))
    assert.ok(!(await takes(token)))
    assert.equal(count(oidc, '/jwks'), 1)
    oidc.answer = undefined
    assert.ok(!(await takes(token)))
    later(retry)
    assert.ok(await takes(token))
    assert.equal(count(oidc, '/jwks'), 2)
  })

  it('goes on when the clock is set back', async (test) => {
    const oidc = await startOidc(test)
    const token = await oidc.token((claims) => {
      delete claims['nbf']
      delete claims['iat']
    })
    const { takes, later } = over(oidc)
    later(3_000_000)
    assert.ok(await takes(token))
    later(-3_000_000)
    assert.ok(await takes(token))
    assert.equal(count(oidc, '/jwks'), 2)
  })

  it('keeps them when identities are loaded again', async (test) => {
    const oidc = await startOidc(test)
    const { context, takes } = over(oidc)
    const token = await oidc.token()
    assert.ok(await takes(token))
    const again = jwt.open(context)
    assert.equal((await again.authenticate({ protocol: 'http', bearer: token })).kind, 'principal')
    assert.deepEqual(oidc.requests, ['/jwks'])
  })

  it('finds the key of a token that names none', async (test) => {
    const oidc = await startOidc(test)
    const nameless: Change = (_, header) => (header['kid'] = undefined)
    const first = await oidc.token(nameless)
    assert.ok(await over(oidc).takes(first))
    await oidc.rotate()
    await oidc.rotate()
    const { takes } = over(oidc)
    assert.ok(await takes(first))
    assert.ok(await takes(await oidc.token(nameless)))
    await oidc.rotate({ withdraw: true })
    await oidc.rotate()
    assert.ok(!(await over(oidc).takes(first)))
  })
})

describe('jwt: answers that are no keys', () => {
  const answers: Readonly<Record<string, readonly [Oidc['answer'], RegExp]>> = {
    'an answer that is huge': [
      (_, response) => {
        const chunk = Buffer.alloc(65_536, ' ')
        response.on('error', () => {})
        const more = () => {
          while (!response.destroyed && response.write(chunk));
        }
        response.on('drain', more)
        more()
      },
      /longer than 1048576 bytes/,
    ],
    'a redirect': [
      (request, response) =>
        request.url === '/jwks'
          ? response.writeHead(302, { location: '/elsewhere' }).end()
          : response.end('{"keys":[]}'),
      /redirects are not followed/,
    ],
    'an error page': [(_, response) => response.end('<html>secret</html>'), /is not JSON/],
    'JSON that is no key set': [(_, response) => response.end('[]'), /malformed/],
    nothing: [(_, response) => response.end(), /is not JSON/],
    'an answer that breaks off': [
      (_, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{')
        setImmediate(() => response.destroy())
      },
      /aborted|closed|reset|hang up/i,
    ],
  }
  for (const [title, [answer, why]] of Object.entries(answers)) {
    it(`refuses by ${title}, and says so without repeating it`, async (test) => {
      const oidc = await startOidc(test)
      oidc.answer = answer
      const { takes, warnings } = over(oidc)
      assert.ok(!(await takes(await oidc.token())))
      assert.equal(warnings().length, 1)
      assert.match(warnings()[0] ?? '', why)
      assert.ok(!(warnings()[0] ?? '').includes('secret'))
      assert.deepEqual(oidc.requests, ['/jwks'])
    })
  }

  it('refuses by a set that holds a private or a secret key', async (test) => {
    const oidc = await startOidc(test)
    const token = await oidc.token()
    const [key] = oidc.keys()
    oidc.answer = (_, response) => response.end(JSON.stringify({ keys: [{ ...key, d: 'AAAA' }] }))
    assert.ok(!(await over(oidc).takes(token)))
    oidc.answer = (_, response) => response.end(JSON.stringify({ keys: [{ kty: 'oct', k: 'AAAA', kid: 'key-1' }] }))
    assert.ok(!(await over(oidc).takes(token)))
  })

  async function silentServer(test: TestContext): Promise<number> {
    const server = createServer((socket) => socket.on('error', () => {}))
    const sockets = new Set<{ destroy(): void }>()
    server.on('connection', (socket) => sockets.add(socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    test.after(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null)
    return address.port
  }

  const find = (keys: ReturnType<typeof createKeySet>) =>
    keys.find({ alg: 'ES256', kid: 'a' }, { payload: '', signature: '', protected: '' })

  it('waits no longer than its time for an issuer that says nothing', async (test) => {
    const log = keepLines()
    const jwks = `http://127.0.0.1:${await silentServer(test)}/jwks`
    const times = { ...keySetTimes, timeout: 50 }
    const keys = createKeySet({ source: { issuer: 'x', jwks }, name: 'company', log, now: Date.now, times })
    await assert.rejects(async () => find(keys), /no keys/)
    assert.deepEqual(log.lines[0]?.facts, { issuer: 'company', error: 'no answer within 50 ms' })
  })

  it('waits for nobody once it is closed', async (test) => {
    const log = keepLines()
    const jwks = `http://127.0.0.1:${await silentServer(test)}/jwks`
    const keys = createKeySet({ source: { issuer: 'x', jwks }, name: 'company', log, now: Date.now })
    const found = find(keys)
    keys.close()
    await assert.rejects(async () => found, /no keys/)
    assert.deepEqual(log.lines, [])
  })
})

describe('jwt: keys by discovery', () => {
  const discovery = '/.well-known/openid-configuration'

  it('finds them', async (test) => {
    const oidc = await startOidc(test)
    assert.ok(await over(oidc, { jwks: undefined }).takes(await oidc.token()))
    assert.deepEqual(oidc.requests, [discovery, '/jwks'])
  })

  it('finds those of an issuer that ends with a slash', async (test) => {
    const oidc = await startOidc(test)
    const issuer = `${oidc.issuer}/`
    oidc.answer = (request, response) =>
      response.end(JSON.stringify(request.url === discovery ? { issuer, jwks_uri: oidc.jwks } : { keys: oidc.keys() }))
    const token = await oidc.token((claims) => (claims['iss'] = issuer))
    assert.ok(await over(oidc, { issuer, jwks: undefined }).takes(token))
    assert.deepEqual(oidc.requests, [discovery, '/jwks'])
  })

  const documents: Readonly<Record<string, readonly [(oidc: Oidc) => unknown, RegExp]>> = {
    'of another issuer': [({ jwks }) => ({ issuer: 'https://elsewhere.example', jwks_uri: jwks }), /another issuer/],
    'with a slash more': [({ jwks, issuer }) => ({ issuer: `${issuer}/`, jwks_uri: jwks }), /another issuer/],
    'without an issuer': [({ jwks }) => ({ jwks_uri: jwks }), /another issuer/],
    'that is null': [() => null, /another issuer/],
    'without keys': [({ issuer }) => ({ issuer }), /no jwks_uri/],
    'that leads to another machine without TLS': [
      ({ issuer }) => ({ issuer, jwks_uri: 'http://169.254.169.254/latest' }),
      /must begin with https/,
    ],
    'that leads to a file': [({ issuer }) => ({ issuer, jwks_uri: 'file:///etc/passwd' }), /must be an address/],
  }
  for (const [title, [document, why]] of Object.entries(documents)) {
    it(`refuses by a document ${title}`, async (test) => {
      const oidc = await startOidc(test)
      oidc.answer = (_, response) => response.end(JSON.stringify(document(oidc)))
      const { takes, warnings } = over(oidc, { jwks: undefined })
      assert.ok(!(await takes(await oidc.token())))
      assert.match(warnings()[0] ?? '', why)
      assert.deepEqual(oidc.requests, [discovery])
    })
  }
})

describe('jwt: keys over TLS', () => {
  it('trusts the authority of the entry, and by default those of the system', async (test) => {
    const { ca, cert, key } = await makeCertificates(test)
    const oidc = await startOidc(test, { tls: { cert, key } })
    const token = await oidc.token()
    assert.ok(await over(oidc, { ca }).takes(token))
    assert.ok(await over(oidc, { ca, jwks: undefined }).takes(token))
    const { takes, warnings } = over(oidc)
    assert.ok(!(await takes(token)))
    assert.match(warnings()[0] ?? '', /certificate/)
    const other = await makeCertificates(test)
    assert.ok(!(await over(oidc, { ca: other.ca }).takes(token)))
  })

  it('checks it whatever the environment says', async (test) => {
    const { cert, key } = await makeCertificates(test)
    const oidc = await startOidc(test, { tls: { cert, key } })
    test.after(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'])
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    assert.ok(!(await over(oidc).takes(await oidc.token())))
    assert.deepEqual(oidc.requests, [])
  })

  it('is not led from it to an open connection', async (test) => {
    const { ca, cert, key } = await makeCertificates(test)
    const oidc = await startOidc(test, { tls: { cert, key } })
    const plain = await startOidc(test)
    oidc.answer = (_, response) => response.end(JSON.stringify({ issuer: oidc.issuer, jwks_uri: plain.jwks }))
    const { takes, warnings } = over(oidc, { ca, jwks: undefined })
    assert.ok(!(await takes(await oidc.token())))
    assert.match(warnings()[0] ?? '', /leads away from https/)
    assert.deepEqual(plain.requests, [])
  })
})

describe('jwt: keys in the configuration', () => {
  it('takes tokens that they have signed, and fetches nothing', async (test) => {
    const oidc = await startOidc(test)
    const { takes } = over(oidc, { jwks: JSON.stringify({ keys: oidc.keys() }) })
    assert.ok(await takes(await oidc.token()))
    await oidc.rotate()
    assert.ok(!(await takes(await oidc.token())))
    assert.deepEqual(oidc.requests, [])
  })
})
