import { deepEqual, equal, match } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Redactor } from '../../src/core/redactor.ts'
import type { Owner, Place } from '../../src/core/reference.ts'
import { createResolver, maxSecretBytes } from '../../src/secrets/resolver.ts'
import { temporaryFolder } from '../support/cleanup.ts'

const ingest: Owner = { kind: 'ingest' }
const alerts: Owner = { kind: 'worker', name: 'alerts' }
const lake: Owner = { kind: 'worker', name: 'lake' }
const at = (owner: Place['owner'], file = '/conf/x.yaml'): Place => ({ file, owner })

describe('createResolver', () => {
  it('resolves for its owner and for no one else, without looking', () => {
    let looked = 0
    const env = {
      get SECRET() {
        looked++
        return 'for-one-only'
      },
    }
    const owners: readonly Owner[] = [ingest, alerts, lake]
    const ofAlerts = { kind: 'queue', name: 'alerts' } as const
    const holders: readonly Place['owner'][] = [...owners, { kind: 'shared' }, ofAlerts]
    const reference = { kind: 'env', name: 'SECRET' } as const
    for (const owner of owners) {
      for (const holder of holders) {
        looked = 0
        const redactor = new Redactor()
        const resolved = createResolver({ owner, redactor, env })(reference, at(holder))
        const allowed: boolean = holder.kind === 'shared' || holder === owner || (holder === ofAlerts && owner !== lake)
        equal('value' in resolved, allowed)
        equal(looked > 0, allowed)
        equal(redactor.scrub('for-one-only'), allowed ? '[redacted]' : 'for-one-only')
      }
    }
    const refusal = createResolver({ owner: ingest, redactor: new Redactor(), env })(reference, at(alerts))
    deepEqual(refusal, { problem: 'this reference belongs to worker alerts and is not resolved for ingest' })
  })

  it('reads the process’ environment by default', () => {
    const resolved = createResolver({ owner: ingest, redactor: new Redactor() })(
      { kind: 'env', name: 'PATH' },
      at(ingest),
    )
    equal('value' in resolved && resolved.value, process.env['PATH'])
  })

  it('takes the default for a variable that is missing or empty, and does not call it a secret', () => {
    const redactor = new Redactor()
    const resolve = createResolver({ owner: ingest, redactor, env: { EMPTY: '' } })
    for (const name of ['EMPTY', 'MISSING', '__proto__', 'toString']) {
      deepEqual(resolve({ kind: 'env', name, fallback: 'embedded' }, at(ingest)), { value: 'embedded' })
      equal('problem' in resolve({ kind: 'env', name }, at(ingest)), true)
    }
    equal(redactor.scrub('embedded'), 'embedded')
  })

  it('reads files relative to the file the reference stands in, without the last newline', async (t) => {
    const folder = await temporaryFolder(t)
    mkdirSync(join(folder, 'secrets'))
    writeFileSync(join(folder, 'secrets/key'), 'line one\nline two\r\n')
    const redactor = new Redactor()
    const resolve = createResolver({ owner: alerts, redactor, env: {} })
    const place = at(alerts, join(folder, 'workers/alerts.yaml'))
    deepEqual(resolve({ kind: 'file', path: '../secrets/key' }, place), { value: 'line one\nline two' })
    deepEqual(resolve({ kind: 'file', path: join(folder, 'secrets/key') }, place), { value: 'line one\nline two' })
    equal(redactor.scrub('it said line one\nline two'), 'it said [redacted]')
  })

  it('says why a file gives no value, and never shows one', async (t) => {
    const folder = await temporaryFolder(t)
    writeFileSync(join(folder, 'empty'), '\n')
    writeFileSync(join(folder, 'large'), Buffer.alloc(maxSecretBytes + 1, 0x61))
    writeFileSync(join(folder, 'binary'), Buffer.from([0xff, 0xfe]))
    writeFileSync(join(folder, 'nul'), 'a\0b')
    writeFileSync(join(folder, 'fits'), Buffer.alloc(maxSecretBytes, 0x61))
    execFileSync('mkfifo', [join(folder, 'pipe')])
    const resolve = createResolver({ owner: ingest, redactor: new Redactor(), env: {} })
    const reason = (path: string) => {
      const resolved = resolve({ kind: 'file', path }, at(ingest, join(folder, 'sluice.yaml')))
      if ('problem' in resolved) return resolved.problem.replaceAll(folder, '')
      return 'value' in resolved ? `${resolved.value.length} characters` : 'open'
    }
    equal(reason('missing'), 'the file /missing cannot be read: there is no such file')
    equal(reason('empty'), 'the file /empty is empty')
    equal(reason('large'), 'the file /large has more than 64 KiB')
    equal(reason('fits'), '65536 characters')
    equal(reason('binary'), 'the file /binary is not UTF-8 text')
    equal(reason('nul'), 'the file /nul is not UTF-8 text')
    equal(reason('.'), ' is not a file')
    equal(reason('pipe'), '/pipe is not a file')
    match(reason('a\0b'), /cannot be read/)
    chmodSync(join(folder, 'fits'), 0)
    if (process.getuid?.() !== 0) equal(reason('fits'), 'the file /fits cannot be read: this process may not read it')
  })
})

describe('a value in a place where no secret stands', () => {
  it('is not redacted there, and is where it stands for a secret too', () => {
    const redactor = new Redactor()
    const resolve = createResolver({ owner: alerts, redactor, env: { NAME: 'archive' } })
    const name = { kind: 'env', name: 'NAME' } as const
    deepEqual(resolve(name, { ...at(alerts), isOpen: () => true }), { value: 'archive' })
    equal(redactor.scrub('worker archive'), 'worker archive')
    resolve(name, { ...at(alerts), isOpen: () => false })
    equal(redactor.scrub('worker archive'), 'worker [redacted]')
  })
})
