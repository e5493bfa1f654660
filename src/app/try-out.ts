import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from '../config/load.ts'
import { messageOf } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import { createIdentity } from '../identity/new-identity.ts'

/** Where the token of the first run's identity is kept, in the data folder, mode 0600. */
export const tryOutTokenFile = 'try-out.token'

const name = 'try-out'

/** What the identity of a first run may do: everything that devices do, because it is only made where nobody else can reach it. */
const policy = `policies:
  try-out:
    Version: '2012-10-17'
    Statement:
      - Effect: Allow
        Action: ['iot:Connect', 'iot:Publish', 'iot:RetainPublish', 'iot:Subscribe', 'iot:Receive']
        Resource: '*'
`

/**
 * On a first start, when identity/ knows nobody, makes an identity to try things out with: an ordinary file in identity/ and
 * a token file for `sluice publish`. Says whether it did. Where files can't be written, it is left out and said.
 */
export async function makeTryOutIdentity(config: Config, log: Log): Promise<boolean> {
  const { settings, directory } = config
  if (directory.principals.size > 0 || settings.bridges.length > 0) return false
  // Never where strangers could knock: `insecure: true` is what lets a listener leave the loopback address.
  if (settings.listen.http?.insecure || settings.listen.mqtt?.insecure) return false
  const { token, yaml } = createIdentity({ name, policies: [name] })
  try {
    await mkdir(settings.data, { recursive: true })
    await mkdir(settings.identity, { recursive: true })
    // The token first: an identity whose token nobody has would keep the next start from making one. A file that is
    // there may have any mode, so a new one takes its place.
    const file = join(settings.data, tryOutTokenFile)
    await rm(file, { force: true })
    await writeFile(file, `${token}\n`, { mode: 0o600, flag: 'wx' })
    await writeFile(join(settings.identity, `${name}.yaml`), `${yaml}${policy}`, { flag: 'wx' })
    return true
  } catch (error) {
    log.warn(
      { error: messageOf(error) },
      'no identity to try out with could be made; make one with "sluice identity new"',
    )
    return false
  }
}
