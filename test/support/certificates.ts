import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Scope, temporaryFolder } from './cleanup.ts'

export interface TestCertificates {
  /** PEM text, as all of these. */
  readonly ca: string
  /** Of 127.0.0.1 and localhost, signed by `ca`. */
  readonly cert: string
  readonly key: string
}

/** An authority that nobody else trusts, and a server certificate of it. Made by openssl. */
export async function makeCertificates(scope: Scope): Promise<TestCertificates> {
  const folder = await temporaryFolder(scope)
  const openssl = (...parameters: string[]) => execFileSync('openssl', parameters, { cwd: folder, stdio: 'pipe' })
  const text = (file: string) => readFileSync(join(folder, file), 'utf8')
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Test CA', '-days', '2')
  openssl('req', ...newKey, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=localhost')
  writeFileSync(join(folder, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  const signing = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names', '-days', '2']
  openssl('x509', '-req', '-in', 'server.csr', ...signing, '-out', 'server.pem')
  return { ca: text('ca.pem'), cert: text('server.pem'), key: text('server.key') }
}
