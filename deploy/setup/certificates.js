// A CA, and the certificates that it signs with openssl.
import { execFileSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'

const days = { authority: 3650, server: 825, device: 3650 }
const renewalMs = 30 * 86_400_000
const publicMode = 0o644
/** `certs` and `device-certs` hold no secret. The CA's key is in `ca`, which no container mounts but setup's. */
const authority = { key: 'ca/ca.key', certificate: 'certs/ca.crt' }
const request = ['[req]', 'distinguished_name = subject', 'prompt = no', 'x509_extensions = extensions', '[subject]']

function newKey(kind) {
  const { privateKey } =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' })
}

export class Certificates {
  #folder
  #stop

  /** `stop` ends everything with a sentence. */
  constructor(folder, stop) {
    this.#folder = folder
    this.#stop = stop
    if (folder.read(authority.certificate) !== undefined) {
      folder.claim(authority.certificate, 'root', publicMode)
      // It may be kept elsewhere.
      folder.claim(authority.key, 'root')
      return
    }
    folder.keep(authority.key, 'root', () => newKey('ec'))
    const extensions = ['basicConstraints = critical,CA:TRUE,pathlen:0', 'keyUsage = critical,keyCertSign,cRLSign']
    const pem = this.#openssl(
      `req -x509 -new -config ca/openssl.cnf -key ${authority.key} -sha256 -days ${days.authority}`.split(' '),
      [...request, 'CN = Sluice compose CA', '[extensions]', ...extensions, 'subjectKeyIdentifier = hash'],
    )
    folder.write(authority.certificate, 'root', pem, publicMode)
  }

  /**
   * A server's key, which stays, and its certificate, which is made anew where it isn't good any more. Whoever serves it reads both from
   * its own folder. Gives `made`, `renewed` or `kept`.
   */
  server(file, owner, name, names, kind = 'ec') {
    const all = [...new Set([name, 'localhost', '127.0.0.1', '::1', ...names])]
    const key = this.#folder.keep(`${file}.key`, owner, () => newKey(kind))
    const before = this.#folder.read(`${file}.crt`)
    if (before !== undefined && this.#isGood(before, key, all)) {
      this.#folder.claim(`${file}.crt`, owner, publicMode)
      return 'kept'
    }
    const alternatives = all.map((each) => `${isIP(each) === 0 ? 'DNS' : 'IP'}:${each}`).join(',')
    const usage = kind === 'rsa' ? 'digitalSignature,keyEncipherment' : 'digitalSignature'
    const extensions = [
      `keyUsage = critical,${usage}`,
      'extendedKeyUsage = serverAuth',
      `subjectAltName = ${alternatives}`,
    ]
    this.#folder.write(`${file}.crt`, owner, this.#sign(`${file}.key`, name, days.server, extensions), publicMode)
    return before === undefined ? 'made' : 'renewed'
  }

  /** A device's key, which may be taken away from here, and its certificate, which ingest reads too. */
  device(name) {
    const certificate = `device-certs/${name}.crt`
    const key = `devices/${name}.key`
    const make = () => {
      this.#folder.keep(key, 'host', () => newKey('ec'))
      const extensions = ['keyUsage = critical,digitalSignature', 'extendedKeyUsage = clientAuth']
      return this.#sign(key, name, days.device, extensions)
    }
    this.#folder.keep(certificate, 'sluice', make, publicMode)
    this.#folder.claim(key, 'host')
  }

  /** Runs openssl with a configuration of its own; gives what it prints. */
  #openssl(parameters, lines, input = '') {
    this.#folder.write('ca/openssl.cnf', 'root', lines.join('\n'))
    const options = { cwd: this.#folder.root, input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] }
    return execFileSync('openssl', parameters, options)
  }

  /** Signs a certificate for a key that is there. Gives PEM. */
  #sign(keyFile, name, validDays, extensions) {
    if (this.#folder.read(authority.key) === undefined)
      this.#stop(
        `${this.#folder.name(authority.key)} is not there, and ${name} needs a certificate: put it back for this`,
      )
    const lines = [
      ...request,
      `CN = ${name}`,
      '[extensions]',
      'basicConstraints = critical,CA:FALSE',
      'subjectKeyIdentifier = hash',
      'authorityKeyIdentifier = keyid',
      ...extensions,
    ]
    const csr = this.#openssl(['req', '-new', '-config', 'ca/openssl.cnf', '-key', keyFile], lines)
    // Positive, and no two alike.
    const serial = `0x4${randomBytes(16).toString('hex').slice(1)}`
    const signing = `-CA ${authority.certificate} -CAkey ${authority.key} -set_serial ${serial} -sha256 -days ${validDays}`
    const from = '-extfile ca/openssl.cnf -extensions extensions'
    return this.#openssl(`x509 -req ${signing} ${from}`.split(' '), lines, csr)
  }

  /** Whether a server's certificate is of this CA and its own key, for all of these names, and good for another month. */
  #isGood(pem, key, names) {
    const certificate = new X509Certificate(pem)
    return (
      certificate.verify(new X509Certificate(this.#folder.read(authority.certificate)).publicKey) &&
      certificate.checkPrivateKey(createPrivateKey(key)) &&
      Date.parse(certificate.validTo) > Date.now() + renewalMs &&
      names.every((name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined)
    )
  }
}
