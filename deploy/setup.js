// What `docker compose up` needs and no repository should hold: a CA, a server certificate for each server, a key and a
// certificate for a first device, and a random secret for everybody, each in a folder that only its owner mounts. What exists is
// left as it is, but server certificates are made anew a month before they end, or when --host has a name that is not in them.
//
//   docker compose run --rm setup --device d-2     a key, a certificate and a Mosquitto password for one more device
//
// Plain JavaScript with openssl: it also runs on a bare host, "node deploy/setup.js deploy/generated".
import { execFileSync } from 'node:child_process'
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  pbkdf2Sync,
  randomBytes,
  X509Certificate,
} from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { host: { type: 'string', default: '' }, device: { type: 'string', multiple: true, default: [] } },
})
const root = positionals[0] ?? '/setup'
/** The users of the images: what a container may read is decided by folder and owner. */
const uids = { root: 0, sluice: 1000, mosquitto: 1883, redis: 999 }
const workers = ['alerts', 'archive']
const days = { authority: 3650, server: 825, device: 3650 }
const renewalMs = 30 * 86_400_000

/** Names and addresses by which devices reach this host, beside localhost. */
const hosts = values.host.split(/[\s,]+/).filter((host) => host !== '')
for (const host of hosts) {
  if (isIP(host) === 0 && !/^[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*$/i.test(host))
    stop(`--host has "${host}", which is neither a host name nor an address`)
}
// It becomes a file's name, a thing's and a user's, so nothing that means something there.
for (const name of values.device) {
  if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) stop(`"${name}": a device's name has 1 to 64 letters, digits, "_" and "-"`)
  // What Mosquitto knows by these names is no device.
  if (['sluice', 'mosquitto', 'ingest', 'redis'].includes(name)) stop(`"${name}" is the name of a part of this system`)
}

function stop(sentence) {
  console.error(sentence)
  process.exit(1)
}

const path = (file) => join(root, file)
/** A file's text, or undefined where there is none. */
const read = (file) => (existsSync(path(file)) ? readFileSync(path(file), 'utf8').trim() || undefined : undefined)

/** Whole or not at all: servers read their certificates again while this runs. */
function write(file, owner, text, mode = 0o400) {
  const next = `${path(file)}.new`
  mkdirSync(dirname(next), { recursive: true })
  rmSync(next, { force: true })
  writeFileSync(next, `${text.trim()}\n`, { mode })
  if (process.getuid?.() === 0) chownSync(next, uids[owner], uids[owner])
  renameSync(next, path(file))
  return text.trim()
}

const keep = (file, owner, make, mode) => read(file) ?? write(file, owner, make(), mode)
const secret = () => randomBytes(24).toString('base64url')
const sha256 = (text) => createHash('sha256').update(text).digest('hex')

/** Mosquitto's own form of a password: PBKDF2 with SHA-512, `$7$<rounds>$<salt>$<hash>`. */
function mosquittoHash(password) {
  const rounds = 101
  const salt = randomBytes(12)
  const hash = pbkdf2Sync(password, salt, rounds, 64, 'sha512')
  return `$7$${rounds}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** Those who speak to Mosquitto with a password; one more is one more line. */
function mosquittoUser(name, password) {
  const file = 'mosquitto/passwords'
  const lines = read(file)?.split('\n') ?? []
  if (lines.some((line) => line.startsWith(`${name}:`))) return
  write(file, 'mosquitto', [...lines, `${name}:${mosquittoHash(password())}`].join('\n'))
}

const publicMode = 0o644
/** `certs` and `device-certs` hold no secret. The CA's key is in `ca`, which no container mounts but this one. */
const authority = { key: 'ca/ca.key', certificate: 'certs/ca.crt' }

function newKey(kind) {
  const { privateKey } =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' })
}

/** Runs openssl with a configuration of its own; gives what it prints. */
function openssl(parameters, lines, input = '') {
  write('ca/openssl.cnf', 'root', lines.join('\n'))
  return execFileSync('openssl', parameters, { cwd: root, input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] })
}

const request = ['[req]', 'distinguished_name = subject', 'prompt = no', 'x509_extensions = extensions', '[subject]']

function makeAuthority() {
  if (read(authority.certificate) !== undefined) return
  keep(authority.key, 'root', () => newKey('ec'))
  const extensions = ['basicConstraints = critical,CA:TRUE,pathlen:0', 'keyUsage = critical,keyCertSign,cRLSign']
  const pem = openssl(
    `req -x509 -new -config ca/openssl.cnf -key ${authority.key} -sha256 -days ${days.authority}`.split(' '),
    [...request, 'CN = Sluice compose CA', '[extensions]', ...extensions, 'subjectKeyIdentifier = hash'],
  )
  write(authority.certificate, 'root', pem, publicMode)
}

/** Signs a certificate for a key that is there. Gives PEM. */
function sign(keyFile, name, validDays, extensions) {
  if (read(authority.key) === undefined)
    stop(`${path(authority.key)} is not there, and ${name} needs a certificate: put it back for this`)
  const lines = [
    ...request,
    `CN = ${name}`,
    '[extensions]',
    'basicConstraints = critical,CA:FALSE',
    'subjectKeyIdentifier = hash',
    'authorityKeyIdentifier = keyid',
    ...extensions,
  ]
  const csr = openssl(['req', '-new', '-config', 'ca/openssl.cnf', '-key', keyFile], lines)
  // Positive, and no two alike.
  const serial = `0x4${randomBytes(16).toString('hex').slice(1)}`
  const signing = `-CA ${authority.certificate} -CAkey ${authority.key} -set_serial ${serial} -sha256 -days ${validDays}`
  const from = '-extfile ca/openssl.cnf -extensions extensions'
  return openssl(`x509 -req ${signing} ${from}`.split(' '), lines, csr)
}

/** Whether a server's certificate is of this CA and its own key, for all of these names, and good for another month. */
function isGood(pem, key, names) {
  const certificate = new X509Certificate(pem)
  return (
    certificate.verify(new X509Certificate(read(authority.certificate)).publicKey) &&
    certificate.checkPrivateKey(createPrivateKey(key)) &&
    Date.parse(certificate.validTo) > Date.now() + renewalMs &&
    names.every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined)
  )
}

/** A server's key, which stays, and its certificate. Whoever serves it reads both from its own folder. */
function server(file, owner, name, names, kind = 'ec') {
  const all = [...new Set([name, 'localhost', '127.0.0.1', '::1', ...names])]
  const key = keep(`${file}.key`, owner, () => newKey(kind))
  const before = read(`${file}.crt`)
  if (before !== undefined && isGood(before, key, all)) return
  const alternatives = all.map((each) => `${isIP(each) === 0 ? 'DNS' : 'IP'}:${each}`).join(',')
  const usage = kind === 'rsa' ? 'digitalSignature,keyEncipherment' : 'digitalSignature'
  const extensions = [
    `keyUsage = critical,${usage}`,
    'extendedKeyUsage = serverAuth',
    `subjectAltName = ${alternatives}`,
  ]
  write(`${file}.crt`, owner, sign(`${file}.key`, name, days.server, extensions), publicMode)
  console.log(`${file}.crt is ${before === undefined ? 'made' : 'renewed'}`)
}

/**
 * What a device needs: its key and its password for Mosquitto, which may be taken away from here; and its certificate, which ingest
 * reads too.
 */
function device(name) {
  mosquittoUser(name, () => keep(`devices/${name}.password`, 'sluice', secret))
  const certificate = `device-certs/${name}.crt`
  if (read(certificate) !== undefined) return
  const key = `devices/${name}.key`
  keep(key, 'sluice', () => newKey('ec'))
  const extensions = ['keyUsage = critical,digitalSignature', 'extendedKeyUsage = clientAuth']
  write(certificate, 'sluice', sign(key, name, days.device, extensions), publicMode)
}

makeAuthority()
server('mosquitto/mosquitto', 'mosquitto', 'mosquitto', hosts)
server('redis/redis', 'redis', 'redis', [])
// One of each kind: a client takes what it can.
server('ingest/ingest', 'sluice', 'ingest', hosts)
server('ingest/ingest-rsa', 'sluice', 'ingest', hosts, 'rsa')

const bridge = keep('ingest/bridge-password', 'sluice', secret)
mosquittoUser('sluice', () => bridge)
for (const name of ['d-1', ...values.device]) device(name)

const redisPasswords = { ingest: keep('ingest/redis-password', 'sluice', secret) }
for (const worker of workers) redisPasswords[worker] = keep(`${worker}/redis-password`, 'sluice', secret)
// Nobody but who knows an access key may speak to a real SQS; the one to try with takes any.
keep('alerts/aws-secret', 'sluice', secret)

/** The rules are written and explained in deploy/redis/users.acl; a password comes in as its SHA-256. */
const template = positionals[1] ?? new URL('redis/users.acl', import.meta.url)
keep('redis/users.acl', 'redis', () => {
  const lines = readFileSync(template, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const roles = Object.fromEntries(lines.map((line) => [line.split(' ', 2)[1], line]))
  const user = (name, role) =>
    roles[role]
      .replace(`user ${role} `, `user ${name} `)
      .replaceAll('WORKER', name)
      .replace('PASSWORD', `#${sha256(redisPasswords[name])}`)
  return ['user default off', user('ingest', 'ingest'), ...workers.map((name) => user(name, 'worker'))].join('\n')
})
console.log(`secrets and certificates are in ${root}`)
for (const name of values.device) {
  console.log(
    [
      '',
      `For deploy/sluice/identity/fleet.yaml, under things and principals:`,
      `  - { name: ${name}, type: sensor, groups: [fleet] }`,
      `  - { name: ${name}, thing: ${name}, x509: { certificate: /device-certs/${name}.crt } }`,
      `For Mosquitto: docker compose kill -s HUP mosquitto`,
    ].join('\n'),
  )
}
