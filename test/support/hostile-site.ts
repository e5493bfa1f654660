import { createHash, scryptSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatScrypt } from '../../src/identity/password/phc.ts'
import { type MadeCertificate, openMaker } from '../identity/x509-makers.ts'
import { freePort, type Scope, temporaryFolder } from './cleanup.ts'
import { DoorClients, type Ports, type Shown } from './door-clients.ts'
import { observable } from './hostile-health.ts'
import { keys, signedPost, signedQuery, signedWebhook } from './hostile-lures.ts'
import { hostileCertificates, type HostileCertificates } from './hostile-tls.ts'
import { type Oidc, startOidc } from './oidc.ts'
import type { Running } from './process.ts'
import { allowEverything, principalEntry, ready, sluice, writeFiles } from './sluice.ts'

/** A Sluice with every door and every auth method, and a file that gets all that reaches a rule. */
export interface Site {
  readonly folder: string
  readonly running: Running
  readonly ports: Ports
  readonly clients: DoorClients
}

/** Certificates, and who issues tokens: the same for all Sluices of a test. */
export interface World {
  readonly certificates: Readonly<Record<'good' | 'mute' | 'new' | 'pending', MadeCertificate>>
  readonly hostile: HostileCertificates
  readonly authorities: Readonly<Record<'fleet' | 'jitr' | 'jitp', { readonly pem: string }>>
  readonly oidc: Oidc
}

export async function makeWorld(scope: Scope): Promise<World> {
  const maker = await openMaker(scope)
  const fleet = maker.authority('/CN=Fleet')
  const [jitr, jitp] = [maker.authority('/CN=Jitr'), maker.authority('/CN=Jitp')]
  const extensions = ['extendedKeyUsage=clientAuth']
  const certificates = {
    good: fleet.issue({ subject: '/CN=good', extensions }),
    mute: fleet.issue({ subject: '/CN=mute', extensions }),
    new: jitp.issue({ subject: '/CN=new-1', extensions }),
    pending: jitr.issue({ subject: '/CN=pending-1', extensions }),
  }
  // Changed, this one must not be provisioned: only its signature says so.
  const fresh = jitp.issue({ subject: '/CN=new-2', extensions })
  return {
    certificates,
    hostile: {
      good: [certificates.good, fresh, certificates.pending],
      bad: { ...hostileCertificates(maker, { fleet, jitr, jitp }), pending: certificates.pending },
    },
    authorities: { fleet, jitr, jitp },
    oidc: await startOidc(scope),
  }
}

const authorizer = `exports.handler = async (event) => ({
  isAuthenticated: event.token === '${keys.authorizerToken}',
  principalId: 'TEST123',
  disconnectAfterInSeconds: 3600,
  refreshAfterInSeconds: 300,
  policyDocuments: [{ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'iot:*', Resource: '*' }] }],
})\n`

const template = {
  Parameters: {
    'AWS::IoT::Certificate::CommonName': { Type: 'String' },
    'AWS::IoT::Certificate::Id': { Type: 'String' },
  },
  Resources: {
    thing: {
      Type: 'AWS::IoT::Thing',
      Properties: { ThingName: { Ref: 'AWS::IoT::Certificate::CommonName' } },
    },
    certificate: {
      Type: 'AWS::IoT::Certificate',
      Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'ACTIVE' },
    },
    policy: { Type: 'AWS::IoT::Policy', Properties: { PolicyName: 'device' } },
  },
}

/** As cheap as a hash may be: many wrong passwords are checked. */
function cheapHash(password: string): string {
  const [salt, cost] = [Buffer.from('sixteen bytes ok'), { ln: 13, r: 8, p: 1 }]
  const hash = scryptSync(password, salt, 32, { N: 2 ** cost.ln, r: cost.r, p: cost.p })
  return formatScrypt({ ...cost, salt, hash })
}

function identities({ certificates, authorities, oidc }: World): Readonly<Record<string, unknown>> {
  const fingerprint = ({ der }: MadeCertificate) => createHash('sha256').update(der).digest('hex')
  const allow = (action: string | readonly string[], resource: string) => ({
    Effect: 'Allow',
    Action: action,
    Resource: resource,
  })
  const { accessKeyId, secretAccessKey } = keys
  return {
    'hook.secret': keys.webhookSecret,
    'fleet.pem': authorities.fleet.pem,
    'jitr.pem': authorities.jitr.pem,
    'jitp.pem': authorities.jitp.pem,
    'identity/authorizer.cjs': authorizer,
    'identity/all.yaml': {
      certificateAuthorities: [
        { name: 'fleet', certificate: '../fleet.pem' },
        { name: 'jitr', certificate: '../jitr.pem', register: 'pending' },
        { name: 'jitp', certificate: '../jitp.pem', register: 'provision', template },
      ],
      issuers: [{ name: 'company', issuer: oidc.issuer, jwks: oidc.jwks, audience: ['sluice'], policies: ['device'] }],
      authorizers: [{ name: 'tokens', module: './authorizer.cjs', tokenKeyName: 'token', signing: 'disabled' }],
      principals: [
        { name: 'good', policies: ['device'], x509: { fingerprint: fingerprint(certificates.good) } },
        { name: 'mute', policies: ['mute'], x509: { fingerprint: fingerprint(certificates.mute) } },
        { name: 'station', policies: ['device'], sigv4: { accessKeyId, secretAccessKey } },
        principalEntry('tok', keys.token, { policies: ['device'] }),
        principalEntry('witness', `${keys.token}-of-witness`, { policies: ['all'] }),
        { name: 'pw', policies: ['device'], password: { scrypt: cheapHash(keys.password) } },
        { name: 'hook', policies: ['device'], webhook: { secret: '${file:../hook.secret}' } },
      ],
      policies: {
        all: allowEverything,
        device: {
          Version: '2012-10-17',
          Statement: [
            allow('iot:Connect', 'arn:aws:iot:*:*:client/c-*'),
            allow(['iot:Publish', 'iot:Receive', 'iot:RetainPublish'], 'arn:aws:iot:*:*:topic/ok/*'),
            allow('iot:Subscribe', 'arn:aws:iot:*:*:topicfilter/ok/*'),
          ],
        },
        // May be there, and neither say nor hear anything. Its client ids are its own, so that it ends nobody else's connection.
        mute: { Version: '2012-10-17', Statement: [allow('iot:Connect', 'arn:aws:iot:*:*:client/m-*')] },
      },
    },
  }
}

export interface SiteOptions {
  readonly command?: 'start' | 'ingest'
  /** Files instead of the identities of `world`, by path. */
  readonly identities?: Readonly<Record<string, unknown>>
  /** Over the settings in sluice.yaml. */
  readonly settings?: Readonly<Record<string, unknown>>
}

export async function startSite(scope: Scope, world: World, options: SiteOptions = {}): Promise<Site> {
  const folder = await temporaryFolder(scope)
  const ports = { http: await freePort(), mqtt: await freePort(), https: await freePort(), mqtts: await freePort() }
  const listen = Object.fromEntries(Object.entries(ports).map(([name, port]) => [name, { port }]))
  const many = 1_000_000
  const config = await writeFiles(folder, {
    'sluice.yaml': {
      arn: { region: keys.region },
      listen,
      limits: { authentication: { perAddress: many, perLocalAddress: many, perPrincipal: many } },
      ...options.settings,
    },
    // `#` leaves out what begins with `$`: those are our own events.
    'rules/all.yaml': { from: '#', to: [{ worker: 'out' }] },
    'workers/out.yaml': { kind: 'file', path: '../out.ndjson' },
    ...(options.identities ?? identities(world)),
  })
  const running = sluice(scope, config, [options.command ?? 'start'], { cwd: folder, env: observable })
  await ready(running)
  const ca = await readFile(join(folder, 'data/pki/ca.pem'), 'utf8')
  return { folder, running, ports, clients: new DoorClients(scope, ports, ca) }
}

/** The topics and texts that have come out, a text of two characters as JSON. */
export async function delivered({ folder }: Pick<Site, 'folder'>): Promise<readonly string[]> {
  const text = await readFile(join(folder, 'out.ndjson'), 'utf8').catch(() => '')
  return text.split('\n').filter((line) => line !== '')
}

/**
 * Whoever has a right credential, one of each kind over each kind of door, says `text` on `ok/x`: `in`, or what became of it.
 * Signatures are made anew each time, because each is good for once.
 */
export async function visit(
  site: Pick<Site, 'clients' | 'ports'>,
  world: World,
  text: string,
): Promise<Readonly<Record<string, string>>> {
  const { clients, ports } = site
  const { good, new: fresh } = world.certificates
  const certificate = ({ pem, key }: MadeCertificate): Shown => ({ certificate: { pem, key } })
  const headers = (all: Readonly<Record<string, string>>): Shown => ({ headers: all })
  const jwt = await world.oidc.token()
  const basic = Buffer.from(`pw:${keys.password}`).toString('base64')
  const named = 'x-amz-customauthorizer-name'
  const { token, password, authorizerToken } = keys
  const body = JSON.stringify(text)
  const results: Record<string, string> = {}
  const http = async (kind: string, door: 'http' | 'https', shown: Shown) => {
    const { status } = await clients.answer(door, shown, '/topics/ok/x', body)
    results[`${kind}, ${door}`] = status === 200 ? 'in' : String(status)
  }
  let count = 0
  const mqtt = async (kind: string, door: 'mqtt' | 'mqtts' | 'ws' | 'wss', shown: Shown) => {
    const { result, client } = await clients.connect(door, { ...shown, clientId: `c-${(count += 1)}` })
    results[`${kind}, ${door}`] = result
    await client?.publishAsync('ok/x', body, { qos: 1 })
    await client?.endAsync()
  }
  await http('x509', 'https', certificate(good))
  await mqtt('x509', 'mqtts', certificate(good))
  await mqtt('x509', 'wss', certificate(good))
  await mqtt('x509 by JITP', 'mqtts', certificate(fresh))
  await http('sigv4', 'http', headers(signedPost(ports.http, body)))
  await http('sigv4', 'https', headers(signedPost(ports.https, body)))
  await mqtt('sigv4', 'ws', { query: `?${signedQuery(ports.http)}` })
  await mqtt('sigv4', 'wss', { query: `?${signedQuery(ports.https)}` })
  await http('jwt', 'https', headers({ authorization: `Bearer ${jwt}` }))
  await mqtt('jwt', 'mqtt', { username: 'x', password: jwt })
  await mqtt('jwt', 'wss', headers({ authorization: `Bearer ${jwt}` }))
  await http('authorizer', 'https', headers({ [named]: 'tokens', token: authorizerToken }))
  await mqtt('authorizer', 'mqtts', {
    username: `?${named}=tokens&token=${encodeURIComponent(authorizerToken)}`,
    password: 'x',
  })
  await http('token', 'http', headers({ authorization: `Bearer ${token}` }))
  await mqtt('token', 'mqtt', { username: 'tok', password: token })
  await mqtt('token', 'ws', { username: 'tok', password: token })
  await http('password', 'https', headers({ authorization: `Basic ${basic}` }))
  await mqtt('password', 'mqtts', { username: 'pw', password })
  await http('webhook', 'http', headers(signedWebhook(body)))
  return results
}
