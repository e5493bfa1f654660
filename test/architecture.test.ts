import { deepEqual } from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { test } from 'node:test'

/** What may import across folders. Any other folder imports core, itself and the libraries below. */
const wiring = new Set(['main.ts', 'index.ts', 'app', 'commands'])

/** Folders that serve as a library to the named others. */
const libraries: Readonly<Record<string, readonly string[]>> = { mqtt: ['ingest', 'forwarders'] }

/** Who may import which package. A package that is not listed may be imported nowhere: a new dependency is a visible line here. */
const owners: Readonly<Record<string, readonly string[]>> = {
  '@aws-sdk/client-sqs': ['forwarders'],
  '@aws-sdk/client-sts': ['credentials'],
  '@electric-sql/pglite': ['queue'],
  '@peculiar/asn1-schema': ['identity'],
  '@peculiar/asn1-x509': ['identity'],
  '@peculiar/x509': ['pki'],
  '@smithy/signature-v4': ['identity'],
  bullmq: ['queue'],
  commander: ['main.ts', 'commands'],
  fastify: ['ingest', 'admin'],
  ioredis: ['queue'],
  jose: ['identity'],
  jsonata: ['rules'],
  'mqtt-packet': ['mqtt', 'ingest'],
  pino: ['observe'],
  'prom-client': ['observe'],
  re2js: ['rules'],
  'reflect-metadata': ['pki'],
  ws: ['ingest'],
  yaml: ['config'],
  zod: ['core', 'app', 'commands', 'config', 'forwarders', 'credentials', 'policy', 'identity', 'delivery'],
}

/** Folders that hold downstream secrets or the code that uses them: outside what ingest loads. */
const outsideIngest = ['src/credentials/', 'src/forwarders/']

interface Import {
  readonly target: string
  readonly typeOnly: boolean
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\b(?<type>\s+type\b)?[^'"`;]*?from\s*'(?<from>[^']+)'|(?:^|\n)\s*import\s*'(?<bare>[^']+)'|import\(\s*'(?<dynamic>[^']+)'/g

function importsOf(root: string, file: string): readonly Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  return [...text.matchAll(importPattern)].map(({ groups }) => ({
    target: groups?.['from'] ?? groups?.['bare'] ?? groups?.['dynamic'] ?? '',
    typeOnly: groups?.['type'] !== undefined,
  }))
}

function resolved(root: string, file: string, target: string): string {
  return relative(root, join(root, dirname(file), target))
    .split(sep)
    .join('/')
}

function crossings(root: string): string[] {
  const found: string[] = []
  for (const file of sources(root)) {
    const folder = file.split('/')[1] ?? ''
    for (const { target } of importsOf(root, file)) {
      if (!target.startsWith('.')) continue
      const to = resolved(root, file, target).split('/')[1] ?? ''
      const free = to === folder || to === 'core' || wiring.has(folder) || libraries[to]?.includes(folder)
      if (!free) found.push(`${file} may not import src/${to}`)
    }
  }
  return found
}

function strayPackages(root: string): string[] {
  const found: string[] = []
  for (const file of sources(root)) {
    const folder = file.split('/')[1] ?? ''
    for (const { target } of importsOf(root, file)) {
      if (target.startsWith('.') || target.startsWith('node:')) continue
      const name = target
        .split('/')
        .slice(0, target.startsWith('@') ? 2 : 1)
        .join('/')
      if (!owners[name]?.includes(folder)) found.push(`${file} may not import ${name}`)
    }
  }
  return found
}

/** Every file that runs when `entry` is loaded; types cost nothing and are left out. */
function closure(root: string, entry: string): Set<string> {
  const reached = new Set<string>()
  const open = [entry]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (reached.has(file)) continue
    reached.add(file)
    for (const { target, typeOnly } of importsOf(root, file)) {
      if (target.startsWith('.') && !typeOnly) open.push(resolved(root, file, target))
    }
  }
  return reached
}

function secretsReached(root: string): string[] {
  return [...closure(root, 'src/app/ingest.ts')]
    .filter((file) => outsideIngest.some((folder) => file.startsWith(folder)))
    .toSorted()
}

function sources(root: string): string[] {
  return globSync('src/**/*.ts', { cwd: root })
    .map((file) => file.split(sep).join('/'))
    .toSorted()
}

const bad = 'test/fixtures/bad-imports'

test('a folder imports core and itself', () => deepEqual(crossings('.'), []))
test('each package is imported by its owners only', () => deepEqual(strayPackages('.'), []))
test('ingest loads no forwarder and no credential', () => deepEqual(secretsReached('.'), []))

test('the check of folders can fail', () =>
  deepEqual(crossings(bad), [
    'src/policy/peeks.ts may not import src/identity',
    'src/rules/peeks.ts may not import src/queue',
  ]))
test('the check of packages can fail', () =>
  deepEqual(strayPackages(bad), [
    'src/app/ingest.ts may not import left-pad',
    'src/rules/peeks.ts may not import ioredis',
  ]))
test('the check of the import closure can fail', () => deepEqual(secretsReached(bad), ['src/forwarders/leaks.ts']))
