import { type Config, type Role as Reading, loadConfig } from '../config/load.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import type { Catalog } from './catalog.ts'
import type { Role } from './supervisor.ts'

/** The processes of a Sluice on Redis: ingest, and one for each worker, with the variables that each resolves. */
export async function rolesOf({ file, workers }: Config, catalog: Catalog): Promise<readonly Role[]> {
  const roles: Role[] = [
    {
      name: 'ingest',
      essential: true,
      parameters: ['ingest'],
      variables: await variablesOf(file, { kind: 'ingest' }, catalog),
    },
  ]
  for (const worker of workers.values()) {
    const { name } = worker
    const own = await variablesOf(file, { kind: 'workers', names: [name] }, catalog)
    roles.push({
      name: `worker ${name}`,
      essential: false,
      parameters: ['worker', name],
      variables: usesDefaultChain(worker) ? [...own, ...awsVariables] : own,
    })
  }
  return roles
}

/**
 * Names of the environment variables that a process resolves when it reads the configuration: found by reading it as that
 * process does, with a resolver that writes down what it is asked. A bridge's password is not asked for a worker's sake.
 */
async function variablesOf(file: string, role: Reading, catalog: Catalog): Promise<readonly string[]> {
  const names = new Set<string>()
  await loadConfig({
    ...catalog,
    examineServerTls: undefined,
    file,
    role,
    resolverFor: () => (reference) => {
      if (reference.kind === 'env') names.add(reference.name)
      return { open: true }
    },
  })
  return [...names].toSorted()
}

/** Whether a credential comes from where AWS's own tools look for one. */
function usesDefaultChain({ credential }: WorkerDefinition): boolean {
  if (credential?.type === 'aws-default') return true
  return credential?.type === 'aws-role' && (credential.settings as { readonly keys?: unknown }).keys === 'default'
}

/** What AWS's default chain reads; only a worker that asks for that chain gets it. */
const awsVariables = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_PROFILE',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'AWS_ROLE_ARN',
  'AWS_ROLE_SESSION_NAME',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_CONTAINER_CREDENTIALS_FULL_URI',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE',
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
]
