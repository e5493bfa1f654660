import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, mock, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { makeCrl } from '../../src/pki/crl.ts'
import { ensurePki } from '../../src/pki/ensure.ts'
import { issueDevice } from '../../src/pki/issue.ts'
import { listCertificates } from '../../src/pki/list.ts'
import { revoke } from '../../src/pki/revoke.ts'
import { type Scope, temporaryFolder } from '../support/cleanup.ts'
import { run } from '../support/process.ts'
import { openssl, tryOpenssl } from './openssl.ts'

const wrongUse = (message: RegExp) => ({ name: 'SluiceError', code: 'WRONG_USE', message })

async function newPki(scope: Scope): Promise<string> {
  const folder = join(await temporaryFolder(scope), 'pki')
  await ensurePki(folder)
  return folder
}

const crlText = (folder: string) =>
  openssl('crl', '-in', join(folder, 'crl.pem'), '-CAfile', join(folder, 'ca.pem'), '-noout', '-text')

/** What openssl says of a certificate with the list at hand. */
const checked = (folder: string, file: string) =>
  tryOpenssl('verify', '-crl_check', '-CAfile', join(folder, 'ca.pem'), '-CRLfile', join(folder, 'crl.pem'), file)

const serialsIn = (text: string) =>
  [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, serial = '']) => serial.toLowerCase())

describe('revoking', () => {
  test('by name, serial number or fingerprint, in any spelling', async (context) => {
    const folder = await newPki(context)
    const [a, b, c, d] = [
      await issueDevice(folder, { name: 'a' }),
      await issueDevice(folder, { name: 'b' }),
      await issueDevice(folder, { name: 'c' }),
      await issueDevice(folder, { name: 'd' }),
    ]
    for (const one of [a, b, c, d]) equal(checked(folder, one.certificate).ok, true)
    const colons = (hex: string) => hex.toUpperCase().replaceAll(/(..)(?=.)/g, '$1:')
    for (const [target, name] of [
      ['a', 'a'],
      [`0x${b.serial.toUpperCase()}`, 'b'],
      [colons(c.fingerprint), 'c'],
    ] as const) {
      const { revoked, before } = await revoke(folder, target)
      deepEqual([revoked.map((entry) => entry.name), before], [[name], []])
    }
    for (const one of [a, b, c]) {
      const { ok, said } = checked(folder, one.certificate)
      deepEqual([ok, /certificate revoked/.test(said)], [false, true], said)
    }
    equal(checked(folder, d.certificate).ok, true)
    const text = crlText(folder)
    match(text, /verify OK|Certificate Revocation List/)
    match(text, /Version 2[\s\S]*Authority Key Identifier[\s\S]*CRL Number/)
    deepEqual(serialsIn(text).toSorted(), [a, b, c].map(({ serial }) => serial).toSorted())
    deepEqual(
      (await listCertificates(folder)).filter(({ state }) => state === 'revoked').map(({ name }) => name),
      ['a', 'b', 'c'],
    )
  })

  test('twice is no error and changes no date', async (context) => {
    const folder = await newPki(context)
    const [first] = (await revoke(folder, 'demo')).revoked
    const again = await revoke(folder, 'demo')
    deepEqual([again.revoked, again.before], [[], [first]])
    const { demo, made } = await ensurePki(folder)
    deepEqual([demo, made], [undefined, []], 'nor is another demo device made')
  })

  test('a name takes all of its certificates, and none that has ended', async (context) => {
    const folder = await newPki(context)
    const old = await issueDevice(folder, { name: 'd', days: 1 })
    context.after(() => mock.timers.reset())
    mock.timers.enable({ apis: ['Date'], now: Date.now() + 2 * 86_400_000 })
    const lost = await issueDevice(folder, { name: 'd' })
    await rename(lost.certificate, `${lost.certificate}.away`)
    await rm(lost.key ?? '')
    const next = await issueDevice(folder, { name: 'd' })
    const { revoked } = await revoke(folder, 'd')
    mock.timers.reset()
    deepEqual(
      revoked.map(({ serial }) => serial),
      [lost.serial, next.serial],
    )
    deepEqual((await revoke(folder, old.serial)).revoked.length, 1)
  })

  test('nobody hides behind a name that looks like another’s fingerprint or serial number', async (context) => {
    const folder = await newPki(context)
    const good = await issueDevice(folder, { name: 'good' })
    const bad = await issueDevice(folder, { name: good.fingerprint, subject: 'CN=bad' })
    const worse = await issueDevice(folder, { name: good.serial })
    const by = async (target: string) => (await revoke(folder, target)).revoked.map(({ serial }) => serial)
    deepEqual(await by(good.fingerprint), [good.serial])
    deepEqual(await by(bad.fingerprint), [bad.serial])
    deepEqual(await by(worse.fingerprint), [worse.serial])
  })

  test('says when nothing is meant', async (context) => {
    const folder = await newPki(context)
    await issueDevice(folder, { name: 'pump-7' })
    await rejects(revoke(folder, 'pump7'), wrongUse(/no certificate has the name, .* "pump7"; did you mean "pump-7"\?/))
    await rejects(revoke(folder, ''), wrongUse(/no certificate has the name.*"sluice pki ls" shows all/))
    await rejects(revoke(folder, '0'), wrongUse(/no certificate has the name/))
    equal(serialsIn(crlText(folder)).length, 0)
  })

  for (const [step, when] of [
    [1, 'before'],
    [1, 'after'],
    [2, 'before'],
    [2, 'after'],
  ] as const)
    test(`can be repeated after a process was killed ${when} file ${step}`, async (context) => {
      const folder = await newPki(context)
      const device = await issueDevice(folder, { name: 'd' })
      const script = fileURLToPath(new URL('dies.ts', import.meta.url))
      const parameters = JSON.stringify([folder, 'd'])
      await run(context, process.execPath, [script, when, `${step}`, 'revoke', 'revoke', parameters]).ended()
      // Once it stands in the list it stays there, whatever the ledger says.
      const listed = serialsIn(crlText(folder)).length
      equal(listed, step === 1 && when === 'before' ? 0 : 1)
      await makeCrl(folder)
      equal(serialsIn(crlText(folder)).length, listed)
      await revoke(folder, 'd')
      deepEqual(serialsIn(crlText(folder)), [device.serial])
      equal((await listCertificates(folder)).find(({ name }) => name === 'd')?.state, 'revoked')
    })
})

describe('the list', () => {
  test('is good for 30 days, and its number grows', async (context) => {
    const folder = await newPki(context)
    const first = await makeCrl(folder)
    const second = await makeCrl(folder)
    equal(second.number > first.number, true)
    equal(Math.round((second.nextUpdate.getTime() - Date.now()) / 86_400_000), 30)
    context.after(() => mock.timers.reset())
    mock.timers.enable({ apis: ['Date'], now: Date.now() - 60_000 })
    const setBack = await makeCrl(folder)
    mock.timers.reset()
    equal(setBack.number, second.number + 1n, 'also where the clock was set back')
    match(crlText(folder), new RegExp(`CRL Number:\\s+${setBack.number}\\b`))
  })

  test('keeps what an older ledger has forgotten', async (context) => {
    const folder = await newPki(context)
    const ledger = join(folder, 'ledger.json')
    const backup = await readFile(ledger, 'utf8')
    const { serial } = await issueDevice(folder, { name: 'd' })
    await revoke(folder, 'd')
    await writeFile(ledger, backup)
    await revoke(folder, 'demo')
    deepEqual(serialsIn(crlText(folder)).includes(serial), true)
    equal(serialsIn(crlText(folder)).length, 2)
  })

  test('is made again from the ledger where it is missing, and not over a strange one', async (context) => {
    const folder = await newPki(context)
    const other = await newPki(context)
    const file = join(folder, 'crl.pem')
    await revoke(folder, 'demo')
    await rm(file)
    await makeCrl(folder)
    equal(serialsIn(crlText(folder)).length, 1)
    for (const text of ['nonsense', await readFile(join(other, 'crl.pem'), 'utf8')]) {
      await writeFile(file, text)
      await rejects(makeCrl(folder), wrongUse(/crl\.pem is not a certificate revocation list of this CA; move it away/))
      equal(await readFile(file, 'utf8'), text)
    }
  })

  test('is renewed by a start in its last 15 days', async (context) => {
    const folder = await newPki(context)
    context.after(() => mock.timers.reset())
    mock.timers.enable({ apis: ['Date'], now: Date.now() + 16 * 86_400_000 })
    deepEqual((await ensurePki(folder)).made, ['crl'])
    deepEqual((await ensurePki(folder)).made, [])
    mock.timers.reset()
  })
})
