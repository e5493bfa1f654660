import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { type LoadOptions, type Loaded, loadConfig } from '../../src/config/load.ts'
import { defineCredential } from '../../src/core/credential.ts'
import { filePath } from '../../src/core/file-path.ts'
import { defineForwarder } from '../../src/core/forwarder.ts'
import { Redactor } from '../../src/core/redactor.ts'
import { authMethods } from '../../src/identity/index.ts'
import { createResolver } from '../../src/secrets/resolver.ts'
import { type Scope, temporaryFolder } from './cleanup.ts'

const unused = () => Promise.reject(new Error('not opened in these tests'))

/** A kind with everything a kind may have: a target, a path, a credential, options with a required one. */
export const post = defineForwarder({
  kind: 'post',
  summary: 'For tests.',
  credentials: ['key', 'pair'],
  credentialRequired: true,
  settings: z.strictObject({
    url: z.url(),
    retries: z.int().min(0).max(5).default(0),
    spool: filePath().exactOptional(),
    tls: z.strictObject({ ca: filePath() }).exactOptional(),
  }),
  with: z.strictObject({ group: z.string().min(1), delay: z.int().min(0).default(0) }),
  limits: { messages: 10, bytes: 1000 },
  examine: ({ url }) => (url.startsWith('ftp:') ? [{ path: 'url', message: 'ftp is not spoken here' }] : []),
  open: unused,
})

export const print = defineForwarder({
  kind: 'print',
  summary: 'For tests.',
  credentials: [],
  settings: z.strictObject({}),
  with: z.strictObject({}),
  limits: { messages: 10, bytes: 1000 },
  open: unused,
})

const key = defineCredential({
  type: 'key',
  summary: 'For tests.',
  settings: z.strictObject({ key: z.string().min(1) }),
  open: unused,
})
const pair = defineCredential({
  type: 'pair',
  summary: 'For tests.',
  settings: z.strictObject({ user: z.string(), password: z.string() }),
  open: unused,
})

export const forwarders = [post, print]
export const credentials = [key, pair]

/** Writes the files of a configuration into a folder of the test's own. */
export async function writeConfig(scope: Scope, files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  const folder = await temporaryFolder(scope)
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  return folder
}

export interface LoadTestOptions extends Partial<LoadOptions> {
  readonly env?: Readonly<Record<string, string>>
  readonly redactor?: Redactor
}

/** Loads a written configuration with the kinds above and resolvers over the given environment. */
export function loadFolder(folder: string, options: LoadTestOptions = {}): Promise<Loaded> {
  const { env = {}, redactor = new Redactor(), ...rest } = options
  return loadConfig({
    file: 'sluice.yaml',
    role: { kind: 'everything' },
    cwd: folder,
    forwarders,
    credentials,
    authMethods,
    resolverFor: (owner) => createResolver({ owner, redactor, env }),
    ...rest,
  })
}
