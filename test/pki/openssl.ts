import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What openssl prints, standard output and error together. Throws where it fails. */
export function openssl(...parameters: readonly string[]): string {
  return execFileSync('openssl', parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** As `openssl`, for what is expected to fail: whether it ended well, and what it said. */
export function tryOpenssl(...parameters: readonly string[]): { readonly ok: boolean; readonly said: string } {
  const { status, stdout, stderr } = spawnSync('openssl', parameters, { encoding: 'utf8' })
  return { ok: status === 0, said: stdout + stderr }
}

/** The text of a certificate, its lines trimmed, for looking at extensions. */
export function textOf(file: string): string {
  return openssl('x509', '-in', file, '-noout', '-text')
}

/** Throws where openssl, at its strictest, doesn't take the certificate for its purpose. */
export function verify(ca: string, file: string, purpose: 'sslclient' | 'sslserver'): void {
  openssl('verify', '-x509_strict', '-check_ss_sig', '-purpose', purpose, '-CAfile', ca, file)
}

/** A request made by openssl; `key` as for `-newkey`, with its options. Gives PEM. */
export function request(key: readonly string[], subject: string, extra: readonly string[] = []): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'))
  try {
    // Without a config of its own openssl adds attributes of the machine's.
    writeFileSync(join(folder, 'cnf'), '[req]\ndistinguished_name=dn\nstring_mask=utf8only\n[dn]\n')
    const file = join(folder, 'csr')
    const config = ['-config', join(folder, 'cnf'), '-utf8', '-subj', subject]
    openssl(
      'req',
      '-new',
      '-newkey',
      ...key,
      '-nodes',
      '-keyout',
      join(folder, 'key'),
      '-out',
      file,
      ...config,
      ...extra,
    )
    return execFileSync('cat', [file], { encoding: 'utf8' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const ecKey = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'] as const
export const rsaKey = ['rsa:2048'] as const
