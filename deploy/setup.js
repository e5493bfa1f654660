// What `docker compose up` needs and no repository should hold: a CA, a server certificate for each server, a key and a
// certificate for a first device, and a random secret for everybody, each in a folder that only its owner mounts. What exists is
// left as it is, but server certificates are made anew a month before they end, or when --host has a name that is not in them, and
// Redis' users follow their template.
//
//   docker compose run --rm setup --device d-2     a key, a certificate and a Mosquitto password for one more device
//
// Plain JavaScript with openssl: it also runs on a bare host, "node deploy/setup.js deploy/generated".
import { createHash, pbkdf2Sync, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Certificates } from './setup/certificates.js'
import { Folder, uids } from './setup/folder.js'
import { unreadableFor } from './setup/readable.js'
import { linesByUser, redisUsers } from './setup/redis-users.js'

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    host: { type: 'string', default: '' },
    device: { type: 'string', multiple: true, default: [] },
    // Where the checkout's deploy/ is mounted, and so: this runs in compose, and looks whether the containers can read it.
    deploy: { type: 'string' },
    // What the user calls the two folders.
    shown: { type: 'string' },
  },
})
const folder = new Folder(positionals[0] ?? '/setup', values.shown ?? positionals[0])
const deploy = values.deploy ?? fileURLToPath(new URL('.', import.meta.url))
/** What containers mount of the checkout, below deploy/, by who reads it. */
const mounted = { mosquitto: ['mosquitto'], redis: ['redis'], sluice: ['sluice', 'sqs'] }

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
if (values.deploy !== undefined) lookAtCheckout()
const workers = workersIn(join(deploy, 'sluice/workers'))

/** The workers that there are files for. Each gets a user of Redis and a folder for its secrets. */
function workersIn(path) {
  const files = readdirSync(path).filter((name) => /\.ya?ml$/.test(name))
  return files.toSorted().map((file) => {
    const written = /^name: *["']?([^"'\s#]+)/m.exec(readFileSync(join(path, file), 'utf8'))?.[1]
    const name = written ?? file.replace(/\.ya?ml$/, '')
    if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) stop(`deploy/sluice/workers/${file}: "${name}" is no name of a worker`)
    if (['ingest', 'redis', 'mosquitto', 'ca', 'certs', 'devices', 'device-certs', 'default'].includes(name))
      stop(`deploy/sluice/workers/${file}: "${name}" is the name of a part of this system; call the worker otherwise`)
    return name
  })
}

function stop(sentence) {
  console.error(sentence)
  process.exit(1)
}

/** Without this, a container whose user may not read its configuration ends or is "unhealthy", and doesn't say why. */
function lookAtCheckout() {
  const found = Object.entries(mounted).flatMap(([owner, names]) => {
    const paths = names.map((name) => join(deploy, name))
    return unreadableFor(uids[owner], paths).map(
      (path) => `  deploy${path.slice(deploy.length)}   (uid ${uids[owner]})`,
    )
  })
  if (found.length === 0) return
  const more = found.length > 5 ? [`  and ${found.length - 5} more`] : []
  stop(
    [
      'The containers run as users of their own, who may not read these files of the checkout (it was made under umask 077, perhaps):',
      ...found.slice(0, 5),
      ...more,
      'As git has them they hold no secrets. Let others read them, then run "docker compose up" again:',
      `  chmod -R go+rX ${Object.values(mounted)
        .flat()
        .map((name) => `deploy/${name}`)
        .join(' ')}`,
    ].join('\n'),
  )
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

/** Those who speak to Mosquitto with a password; one more is one more line. */
function mosquittoUser(name, password) {
  const file = 'mosquitto/passwords'
  const lines = folder.read(file)?.split('\n') ?? []
  const known = lines.some((line) => line.startsWith(`${name}:`))
  if (known) folder.claim(file, 'mosquitto')
  else folder.write(file, 'mosquitto', [...lines, `${name}:${mosquittoHash(password())}`].join('\n'))
}

/** What a device needs: its certificate with its key, and its password for Mosquitto. */
function device(name) {
  const password = `devices/${name}.password`
  mosquittoUser(name, () => folder.keep(password, 'host', secret))
  folder.claim(password, 'host')
  certificates.device(name)
}

/** The rules are written and explained in deploy/redis/users.acl; a password comes in as its SHA-256. */
function usersOfRedis() {
  const [file, applied] = ['redis/users.acl', 'redis/users.template']
  const hashOf = (text) => `#${sha256(text)}`
  const passwords = new Map([['ingest', hashOf(folder.keep('ingest/redis-password', 'sluice', secret))]])
  for (const name of workers) passwords.set(name, hashOf(folder.keep(`${name}/redis-password`, 'sluice', secret)))
  const lines = linesByUser(readFileSync(join(deploy, 'redis/users.acl'), 'utf8'))
  for (const role of ['default', 'ingest', 'worker'])
    if (!lines.has(role)) stop(`deploy/redis/users.acl has no line "user ${role} …"`)
  const [template, before] = [[...lines.values()].join('\n'), folder.read(file)]
  const { text, notes } = redisUsers({ template, applied: folder.read(applied), passwords, before })
  for (const [name, owner, wanted] of [
    [file, 'redis', text],
    [applied, 'root', template],
  ]) {
    if (folder.read(name) === wanted) folder.claim(name, owner)
    else folder.write(name, owner, wanted)
  }
  if (before === undefined || before === text) return
  for (const note of notes) console.log(`${folder.name(file)}: ${note}`)
  toRestart.set('redis', `${folder.name(file)} has changed`)
}

/** Servers that read what has changed only when they start, and why. */
const toRestart = new Map()

const folders = ['certs', 'device-certs', 'mosquitto', 'redis', 'ingest', ...workers]
for (const name of folders) folder.open(name)
const isNew = folder.read('certs/ca.crt') === undefined
const certificates = new Certificates(folder, stop)
// One of each kind for ingest: a client takes what it can.
for (const [file, owner, names, kind] of [
  ['mosquitto/mosquitto', 'mosquitto', hosts],
  ['redis/redis', 'redis', []],
  ['ingest/ingest', 'sluice', hosts],
  ['ingest/ingest-rsa', 'sluice', hosts, 'rsa'],
]) {
  const [name] = file.split('/')
  const done = certificates.server(file, owner, name, names, kind)
  if (done !== 'kept') console.log(`${folder.name(file)}.crt is ${done}`)
  // Ingest reads its own again when they change.
  if (done === 'renewed' && name !== 'ingest') toRestart.set(name, `${folder.name(file)}.crt is renewed`)
}

const bridge = folder.keep('ingest/bridge-password', 'sluice', secret)
mosquittoUser('sluice', () => bridge)
for (const name of ['d-1', ...values.device]) device(name)
usersOfRedis()
// Nobody but who knows an access key may speak to a real SQS; the one to try with takes any.
if (workers.includes('alerts')) folder.keep('alerts/aws-secret', 'sluice', secret)
for (const name of ['ingest', ...workers]) folder.claimSecrets(name, 'sluice')

console.log(`secrets and certificates are in ${folder.name('.')}`)
for (const [name, why] of toRestart) console.log(`${why}: where it runs, docker compose restart ${name}`)
if (isNew) console.log(['', 'When all is up, as the device d-1:', ...tries('d-1')].join('\n'))
for (const name of values.device) {
  console.log(
    [
      '',
      `For deploy/sluice/identity/fleet.yaml, under things and principals:`,
      `  - { name: ${name}, type: sensor, groups: [fleet] }`,
      `  - { name: ${name}, thing: ${name}, x509: { certificate: /device-certs/${name}.crt } }`,
      `For Mosquitto, while ingest is running: docker compose kill -s HUP mosquitto`,
      `Then, as ${name}:`,
      ...tries(name),
    ].join('\n'),
  )
}

/** What to try, where the user sits: over HTTPS, MQTT with a certificate, and Mosquitto with a password. */
function tries(name) {
  const [ca, key] = [folder.name('certs/ca.crt'), folder.name(`devices/${name}.key`)]
  const certificate = `--cert ${folder.name(`device-certs/${name}.crt`)} --key ${key}`
  const topic = `devices/${name}/climate`
  const mqtt = `--cafile ${ca} -q 1 -t ${topic} -m '{"celsius":31}'`
  return [
    `  curl --cacert ${ca} ${certificate} --data '{"celsius":31}' 'https://localhost:8443/topics/${topic}?qos=1'`,
    `  mosquitto_pub -p 8884 ${certificate} -i ${name} ${mqtt}`,
    `  mosquitto_pub -p 8883 -u ${name} -P "$(cat ${folder.name(`devices/${name}.password`)})" ${mqtt}`,
    '  docker compose exec worker-archive cat /data/archive.ndjson',
  ]
}
