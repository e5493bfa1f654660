// What a first `docker compose up` needs and no repository should hold: a CA with a certificate for Mosquitto, and a random
// secret for everybody, each in a folder that only its owner mounts. Runs once; what exists is left as it is.
// Plain JavaScript with openssl: it also runs on a bare host, "node deploy/setup.js deploy/generated".
import { execFileSync } from 'node:child_process'
import { createHash, pbkdf2Sync, randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = process.argv[2] ?? '/setup'
/** The users of the images: what a container may read is decided by folder and owner. */
const uids = { sluice: 1000, mosquitto: 1883, redis: 999 }
const workers = ['alerts', 'archive']

function keep(file, owner, make, mode = 0o400) {
  const path = join(root, file)
  if (existsSync(path)) return readFileSync(path, 'utf8').trim()
  mkdirSync(join(path, '..'), { recursive: true })
  const text = make()
  writeFileSync(path, `${text}\n`, { mode })
  if (process.getuid?.() === 0) chownSync(path, uids[owner], uids[owner])
  return text
}

const secret = () => randomBytes(24).toString('base64url')
const sha256 = (text) => createHash('sha256').update(text).digest('hex')

/** Mosquitto's own form of a password: PBKDF2 with SHA-512, `$7$<rounds>$<salt>$<hash>`. */
function mosquittoHash(password) {
  const rounds = 101
  const salt = randomBytes(12)
  const hash = pbkdf2Sync(password, salt, rounds, 64, 'sha512')
  return `$7$${rounds}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** A CA and Mosquitto's certificate. The CA's key stays in a folder that no container mounts. */
function certificates() {
  const certs = join(root, 'certs')
  if (existsSync(join(certs, 'mosquitto.crt'))) return
  for (const folder of ['ca', 'certs']) mkdirSync(join(root, folder), { recursive: true })
  const openssl = (...parameters) =>
    execFileSync('openssl', parameters, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] })
  const key = (file) => openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file)
  key('ca/ca.key')
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    'ca/ca.key',
    '-sha256',
    '-days',
    '3650',
    '-subj',
    '/CN=Sluice compose CA',
    '-out',
    'certs/ca.crt',
  )
  key('certs/mosquitto.key')
  openssl('req', '-new', '-key', 'certs/mosquitto.key', '-subj', '/CN=mosquitto', '-out', 'ca/mosquitto.csr')
  writeFileSync(
    join(root, 'ca/san.cnf'),
    'subjectAltName=DNS:mosquitto,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n',
  )
  const signing = [
    '-CA',
    'certs/ca.crt',
    '-CAkey',
    'ca/ca.key',
    '-CAcreateserial',
    '-CAserial',
    'ca/ca.srl',
    '-extfile',
    'ca/san.cnf',
  ]
  openssl(
    'x509',
    '-req',
    '-in',
    'ca/mosquitto.csr',
    ...signing,
    '-sha256',
    '-days',
    '825',
    '-out',
    'certs/mosquitto.crt',
  )
  if (process.getuid?.() !== 0) return
  for (const file of ['mosquitto.key', 'mosquitto.crt', 'ca.crt'])
    chownSync(join(certs, file), uids.mosquitto, uids.mosquitto)
}

certificates()
const bridge = keep('ingest/bridge-password', 'sluice', secret)
const device = keep('device/password', 'sluice', secret)
keep('mosquitto/passwords', 'mosquitto', () =>
  [`sluice:${mosquittoHash(bridge)}`, `d-1:${mosquittoHash(device)}`].join('\n'),
)

const redisPasswords = { ingest: keep('ingest/redis-password', 'sluice', secret) }
for (const worker of workers) redisPasswords[worker] = keep(`${worker}/redis-password`, 'sluice', secret)
// Nobody but who knows an access key may speak to a real SQS; the one to try with takes any.
keep('alerts/aws-secret', 'sluice', secret)

/** The rules are written and explained in deploy/redis/users.acl; a password comes in as its SHA-256. */
const template = process.argv[3] ?? new URL('redis/users.acl', import.meta.url)
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
