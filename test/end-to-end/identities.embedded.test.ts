import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createHash, createHmac, randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { SignatureV4 } from '@smithy/signature-v4'
import { hashPassword } from '../../src/identity/password.ts'
import { Sha256 } from '../../src/identity/sigv4/sha256.ts'
import { type MadeAuthority, type MadeCertificate, openMaker } from '../identity/x509-makers.ts'
import { freePort, temporaryFolder, until } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { DoorClients, offWithin, type Shown } from '../support/door-clients.ts'
import { type Oidc, startOidc } from '../support/oidc.ts'
import type { Running } from '../support/process.ts'
import { principalEntry, ready, sluice, writeFiles } from '../support/sluice.ts'

// Every auth method over every door it belongs to, on a real Sluice: right, wrong, absent, expired, revoked.

const scope = suiteScope()
const region = 'eu-west-1'
const accessKeyId = 'AKIDEXAMPLE000000001'
const secretAccessKey = 'a secret access key of 40 characters....'
const hookSecret = `whsec_${Buffer.from('a secret of thirty-two characters').toString('base64')}`
let folder = ''
let running: Running
let clients: DoorClients
let oidc: Oidc
let fleet: MadeAuthority
let stranger: MadeAuthority
let certificates: Readonly<Record<string, MadeCertificate>>

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const clientAuth = ['extendedKeyUsage=clientAuth']
const module = `exports.handler = async (event) => ({
  isAuthenticated: event.token === 'let me in' || event.protocolData.mqtt?.password === Buffer.from('let me in').toString('base64'),
  principalId: 'TEST123',
  disconnectAfterInSeconds: 3600,
  refreshAfterInSeconds: 300,
  policyDocuments: [{ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: '*' }] }],
})\n`

before(async () => {
  folder = await temporaryFolder(scope)
  const maker = await openMaker(scope)
  fleet = maker.authority('/CN=Fleet')
  stranger = maker.authority('/CN=Fleet')
  const issue = (name: string, more = {}) => fleet.issue({ subject: `/CN=${name}`, extensions: clientAuth, ...more })
  certificates = {
    good: issue('good'),
    off: issue('off'),
    revoked: issue('revoked'),
    listed: issue('listed'),
    expired: issue('expired', { days: -1 }),
    unknown: issue('unknown'),
    foreign: stranger.issue({ subject: '/CN=good', extensions: clientAuth }),
    loose: maker.selfSigned('/CN=loose', ['basicConstraints=critical,CA:FALSE']),
    leaver: issue('leaver'),
  }
  oidc = await startOidc(scope)
  const ports = { http: await freePort(), mqtt: await freePort(), https: await freePort(), mqtts: await freePort() }
  const x509 = (name: string, status = 'ACTIVE') => ({
    name,
    policies: ['device'],
    x509: { fingerprint: sha256((certificates[name] as MadeCertificate).der), status },
  })
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      arn: { region },
      listen: {
        http: { port: ports.http },
        mqtt: { port: ports.mqtt },
        https: { port: ports.https },
        mqtts: { port: ports.mqtts },
      },
    },
    'hook.secret': hookSecret,
    'fleet.pem': fleet.pem,
    'fleet.crl': fleet.crl([certificates['listed'] as MadeCertificate]),
    'identity/authorizer.cjs': module,
    'identity/all.yaml': {
      certificateAuthorities: [{ name: 'fleet', certificate: '../fleet.pem', crl: '../fleet.crl' }],
      issuers: [{ name: 'company', issuer: oidc.issuer, jwks: oidc.jwks, audience: ['sluice'], policies: ['device'] }],
      authorizers: [{ name: 'tokens', module: './authorizer.cjs', tokenKeyName: 'token', signing: 'disabled' }],
      principals: [
        x509('good'),
        x509('off', 'INACTIVE'),
        x509('revoked', 'REVOKED'),
        x509('listed'),
        x509('expired'),
        x509('loose'),
        x509('leaver'),
        { name: 'station', policies: ['device'], sigv4: { accessKeyId, secretAccessKey } },
        principalEntry('tok', 'token-of-tok', { policies: ['device'] }),
        { name: 'pw', policies: ['device'], password: { scrypt: await hashPassword(Buffer.from('correct horse')) } },
        { name: 'hook', policies: ['device'], webhook: { secret: '${file:../hook.secret}' } },
        principalEntry('bare', 'token-of-bare'),
      ],
      policies: {
        device: {
          Version: '2012-10-17',
          Statement: [
            { Effect: 'Allow', Action: 'iot:Connect', Resource: '*' },
            { Effect: 'Allow', Action: ['iot:Publish', 'iot:Receive'], Resource: 'arn:aws:iot:*:*:topic/ok/*' },
            { Effect: 'Allow', Action: 'iot:Subscribe', Resource: 'arn:aws:iot:*:*:topicfilter/ok/*' },
          ],
        },
      },
    },
  })
  running = sluice(scope, config, ['start'], { cwd: folder })
  await ready(running)
  clients = new DoorClients(scope, ports, await readFile(join(folder, 'data/pki/ca.pem'), 'utf8'))
})

const withCertificate = (name: string): Shown => {
  const { pem, key } = certificates[name] as MadeCertificate
  return { certificate: { pem, key } }
}
const bearer = (token: string): Shown => ({ headers: { authorization: `Bearer ${token}` } })
const basic = (name: string, password: string): Shown => ({
  headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` },
})

/** What each door says to what is shown: status of HTTP, or what became of CONNECT. */
async function everywhere(shown: Shown, doors: readonly string[]): Promise<Record<string, number | string>> {
  const results: Record<string, number | string> = {}
  for (const door of doors) {
    if (door === 'http' || door === 'https') results[door] = await clients.post(door, shown)
    else results[door] = (await clients.connect(door as 'mqtt', shown)).result
  }
  return results
}

describe('nobody', () => {
  test('comes in without a credential, by any door', async () => {
    deepEqual(await everywhere({}, ['http', 'https', 'mqtt', 'mqtts', 'ws', 'wss']), {
      http: 401,
      https: 401,
      mqtt: 'code 4',
      mqtts: 'code 4',
      ws: 'code 4',
      wss: 'code 4',
    })
  })

  test('may do anything without a policy', async () => {
    equal(await clients.post('https', bearer('token-of-bare')), 403)
    equal((await clients.connect('mqtts', { username: 'bare', password: 'token-of-bare' })).result, 'code 5')
  })
})

describe('x509', () => {
  const doors = ['https', 'mqtts', 'wss']
  test('an ACTIVE certificate comes in, over each door of its own', async () => {
    deepEqual(await everywhere(withCertificate('good'), doors), { https: 200, mqtts: 'in', wss: 'in' })
    // AWS's SDKs put their name there.
    const metrics = { ...withCertificate('good'), username: '?SDK=x&Version=1' }
    equal((await clients.connect('mqtts', metrics)).result, 'in')
  })

  test('registered by fingerprint it needs no authority', async () => {
    deepEqual(await everywhere(withCertificate('loose'), doors), { https: 200, mqtts: 'in', wss: 'in' })
  })

  for (const name of ['off', 'revoked', 'listed', 'expired', 'unknown', 'foreign']) {
    test(`one that is ${name} doesn't, and no other credential beside it helps`, async () => {
      const refused = { https: 401, mqtts: 'code 4', wss: '401' }
      deepEqual(await everywhere(withCertificate(name), doors), refused)
      const both = {
        ...withCertificate(name),
        ...bearer('token-of-tok'),
        username: 'tok',
        password: 'token-of-tok',
      }
      deepEqual(await everywhere(both, doors), refused)
    })
  }

  test('one port serves MQTT and HTTPS, by ALPN', async () => {
    const { https } = clients.ports
    const byAlpn = new DoorClients(
      scope,
      { ...clients.ports, mqtts: https },
      await readFile(join(folder, 'data/pki/ca.pem'), 'utf8'),
    )
    equal((await byAlpn.connect('mqtts', { ...withCertificate('good'), alpn: 'x-amzn-mqtt-ca' })).result, 'in')
    equal(await byAlpn.post('https', { ...withCertificate('good'), alpn: 'x-amzn-http-ca' }), 200)
  })

  test('policies hold for it: a topic that is not its own', async () => {
    equal(await clients.post('https', withCertificate('good'), '/topics/closed'), 403)
    const { client } = await clients.connect('mqtts', withCertificate('good'))
    ok(client)
    await client.publishAsync('ok/x', 'x', { qos: 1 })
    const published = client.publishAsync('closed', 'x', { qos: 1 }).catch(() => 'no acknowledgement')
    ok((await offWithin(client, 3_000)) >= 0)
    await client.endAsync(true)
    equal(await published, 'no acknowledgement')
  })
})

/** Signs for both forms with AWS's own signer. */
function signer(service: string, secret = secretAccessKey) {
  return new SignatureV4({
    region,
    service,
    sha256: Sha256,
    applyChecksum: false,
    credentials: { accessKeyId, secretAccessKey: secret },
  })
}

async function signedPost(door: 'http' | 'https', options: { secret?: string; date?: Date; body?: string } = {}) {
  const { secret, date, body = 'x' } = options
  const { headers } = await signer('iotdata', secret).sign(
    {
      method: 'POST',
      protocol: `${door}:`,
      hostname: '127.0.0.1',
      port: clients.ports[door],
      path: '/topics/ok/x',
      query: {},
      headers: { host: `127.0.0.1:${clients.ports[door]}` },
      body,
    },
    date === undefined ? {} : { signingDate: date },
  )
  return { headers }
}

async function signedUrl(door: 'http' | 'https', secret?: string): Promise<Shown> {
  const { query = {} } = await signer('iotdevicegateway', secret).presign(
    {
      method: 'GET',
      protocol: 'wss:',
      hostname: '127.0.0.1',
      port: clients.ports[door],
      path: '/mqtt',
      query: {},
      headers: { host: `127.0.0.1:${clients.ports[door]}` },
    },
    { expiresIn: 60 },
  )
  return { query: `?${new URLSearchParams(query as Record<string, string>).toString().replaceAll('+', '%20')}` }
}

describe('sigv4', () => {
  test('a signed request is taken over HTTP and HTTPS, once', async () => {
    for (const door of ['http', 'https'] as const) {
      const shown = await signedPost(door)
      equal(await clients.post(door, shown), 200)
      equal(await clients.post(door, shown), 401, 'the same signature again')
    }
  })

  test('a signed URL opens a WebSocket, once, and CONNECT needs no credential', async () => {
    for (const [door, listener] of [
      ['ws', 'http'],
      ['wss', 'https'],
    ] as const) {
      const shown = await signedUrl(listener)
      equal((await clients.connect(door, shown)).result, 'in')
      equal((await clients.connect(door, shown)).result, '401')
    }
  })

  test('a wrong secret, another body, and an old date are refused', async () => {
    equal(await clients.post('https', await signedPost('https', { secret: 'another secret' })), 401)
    equal(await clients.post('https', await signedPost('https'), '/topics/ok/x', 'y'), 401)
    equal(await clients.post('https', await signedPost('https'), '/topics/ok/y'), 401)
    const old = new Date(Date.now() - 6 * 60_000)
    equal(await clients.post('https', await signedPost('https', { date: old })), 401)
    equal((await clients.connect('wss', await signedUrl('https', 'another secret'))).result, '401')
  })

  test('a body over the limit is told as such', async () => {
    const body = 'x'.repeat(200_000)
    equal(await clients.post('https', await signedPost('https', { body }), '/topics/ok/x', body), 413)
  })
})

describe('jwt', () => {
  const doors = ['http', 'https', 'mqtt', 'mqtts', 'ws', 'wss']
  /** As a bearer over HTTP, as the password over MQTT. */
  const both = (token: string): Shown => ({ username: 'anything', password: token })

  test('a token comes in over each door: as bearer, or as password', async () => {
    const token = await oidc.token()
    deepEqual(await everywhere(bearer(token), ['http', 'https', 'ws', 'wss']), {
      http: 200,
      https: 200,
      ws: 'in',
      wss: 'in',
    })
    deepEqual(await everywhere(both(token), ['mqtt', 'mqtts', 'ws', 'wss']), {
      mqtt: 'in',
      mqtts: 'in',
      ws: 'in',
      wss: 'in',
    })
  })

  test('an expired one, one for somebody else, and one that was changed do not', async () => {
    const now = Math.floor(Date.now() / 1_000)
    const bad = [
      await oidc.token((claims) => Object.assign(claims, { exp: now - 3_600 })),
      await oidc.token((claims) => Object.assign(claims, { aud: 'another' })),
      (await oidc.token()).replace(/.(?=.{20}$)/, (character) => (character === 'A' ? 'B' : 'A')),
    ]
    for (const token of bad) {
      deepEqual(await everywhere({ ...bearer(token), ...both(token) }, doors), {
        http: 401,
        https: 401,
        mqtt: 'code 4',
        mqtts: 'code 4',
        ws: '401',
        wss: '401',
      })
    }
  })

  test('the connection ends when the token does', async () => {
    const end = Math.floor(Date.now() / 1_000) + 3
    const token = await oidc.token((claims) => Object.assign(claims, { exp: end }))
    const { client } = await clients.connect('mqtts', both(token))
    ok(client)
    await offWithin(client, 6_000)
    ok(Date.now() / 1_000 >= end - 0.1, 'not before its time')
  })
})

describe('custom authorizers', () => {
  const named = 'x-amz-customauthorizer-name=tokens'
  test('decide over each door: header, query, and MQTT user name', async () => {
    const headers = { 'x-amz-customauthorizer-name': 'tokens', token: 'let me in' }
    deepEqual(await everywhere({ headers }, ['http', 'https', 'ws', 'wss']), {
      http: 200,
      https: 200,
      ws: 'in',
      wss: 'in',
    })
    deepEqual(await everywhere({ query: `?${named}&token=let%20me%20in` }, ['https', 'wss']), { https: 200, wss: 'in' })
    const mqtt = { username: `device?${named}`, password: 'let me in' }
    deepEqual(await everywhere(mqtt, ['mqtt', 'mqtts']), { mqtt: 'in', mqtts: 'in' })
  })

  test('refuse, and an unknown one refuses too', async () => {
    const headers = { 'x-amz-customauthorizer-name': 'tokens', token: 'wrong' }
    deepEqual(await everywhere({ headers }, ['https', 'wss']), { https: 401, wss: 'code 4' })
    const unknown = { headers: { 'x-amz-customauthorizer-name': 'nobody', token: 'let me in' } }
    equal(await clients.post('https', unknown), 401)
    equal((await clients.connect('mqtts', { username: `x?${named}`, password: 'wrong' })).result, 'code 4')
  })
})

describe('token and password', () => {
  test('a token: bearer over HTTP, password over MQTT', async () => {
    const shown = { ...bearer('token-of-tok'), username: 'tok', password: 'token-of-tok' }
    const doors = ['http', 'https', 'mqtt', 'mqtts', 'ws', 'wss']
    deepEqual(await everywhere(shown, doors), { http: 200, https: 200, mqtt: 'in', mqtts: 'in', ws: 'in', wss: 'in' })
    const wrong = { ...bearer('token-of-nobody'), username: 'tok', password: 'token-of-nobody' }
    const refused = { http: 401, https: 401, mqtt: 'code 4', mqtts: 'code 4', ws: '401', wss: '401' }
    deepEqual(await everywhere(wrong, doors), refused)
  })

  test('a password: Basic over HTTP, user name and password over MQTT', async () => {
    const shown = { ...basic('pw', 'correct horse'), username: 'pw', password: 'correct horse' }
    deepEqual(await everywhere(shown, ['https', 'mqtts', 'wss']), { https: 200, mqtts: 'in', wss: 'in' })
    for (const [name, password] of [
      ['pw', 'wrong'],
      ['nobody', 'correct horse'],
      ['tok', 'correct horse'],
    ] as const) {
      equal(await clients.post('https', basic(name, password)), 401)
      equal((await clients.connect('mqtts', { username: name, password })).result, 'code 4')
    }
  })
})

describe('webhook', () => {
  const signed = (body: string, secret = hookSecret, at = Math.floor(Date.now() / 1_000), id = randomUUID()) => {
    const mac = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
      .update(`${id}.${at}.${body}`)
      .digest('base64')
    return {
      headers: {
        'x-sluice-principal': 'hook',
        'webhook-id': id,
        'webhook-timestamp': String(at),
        'webhook-signature': `v1,${mac}`,
      },
    }
  }
  test('a signed one is taken, once', async () => {
    const shown = signed('x')
    const batch = JSON.stringify([{ topic: 'ok/x', payload: 1 }])
    equal(await clients.post('https', shown), 200)
    equal(await clients.post('https', shown), 401)
    equal(await clients.post('http', signed(batch), '/messages', batch), 200)
  })
  test('one with another body, an old one, and a wrong secret are refused', async () => {
    equal(await clients.post('https', signed('y')), 401)
    equal(await clients.post('https', signed('x', hookSecret, Math.floor(Date.now() / 1_000) - 600)), 401)
    equal(
      await clients.post(
        'https',
        signed('x', `whsec_${Buffer.from('another secret of 32 characters!').toString('base64')}`),
      ),
      401,
    )
  })
})

describe('a change of identities', () => {
  test('ends live connections of a certificate that is on the CRL now, within seconds of the file', async () => {
    const { client } = await clients.connect('mqtts', withCertificate('leaver'))
    ok(client)
    const listed = ['listed', 'leaver'].map((name) => certificates[name] as MadeCertificate)
    await writeFile(join(folder, 'fleet.crl'), fleet.crl(listed))
    ok((await offWithin(client, 3_000)) > 0)
    equal((await clients.connect('mqtts', withCertificate('leaver'))).result, 'code 4')
  })

  test('a policy that denies now ends what it denies, on a connection that stays', async () => {
    const { client } = await clients.connect('mqtts', {
      username: 'tok',
      password: 'token-of-tok',
      clientId: 'stays',
    })
    ok(client)
    const got: string[] = []
    client.on('message', (topic) => got.push(topic))
    await client.subscribeAsync('ok/#', { qos: 1 })
    await client.publishAsync('ok/before', 'x', { qos: 1 })
    await until('it is received', () => got.includes('ok/before'))
    const statement = { Effect: 'Deny', Action: 'iot:Receive', Resource: 'arn:aws:iot:*:*:topic/ok/secret' }
    const text = await readFile(join(folder, 'identity/all.yaml'), 'utf8')
    const all = JSON.parse(text) as { policies: { device: { Statement: unknown[] } } }
    all.policies.device.Statement.push(statement)
    await writeFile(join(folder, 'identity/all.yaml'), JSON.stringify(all))
    await until('it is in force', async () => {
      got.length = 0
      await client.publishAsync('ok/secret', 'x', { qos: 1 })
      await client.publishAsync('ok/after', 'x', { qos: 1 })
      await until('the other one comes', () => got.includes('ok/after'))
      return !got.includes('ok/secret')
    })
    ok(client.connected)
  })
})

test('no secret stands in the log', () => {
  const log = running.output()
  for (const secret of [
    secretAccessKey,
    hookSecret,
    'token-of-tok',
    'token-of-nobody',
    'correct horse',
    'let me in',
    'another secret',
  ])
    equal(log.includes(secret), false, secret)
  match(log, /a client certificate was refused/)
})
