import { deepEqual, equal, ok } from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { before, describe, test } from 'node:test'
import fc from 'fast-check'
import { SluiceError } from '../../src/core/errors.ts'
import { ensurePki } from '../../src/pki/ensure.ts'
import { issueDevice, type Issued } from '../../src/pki/issue.ts'
import { listCertificates } from '../../src/pki/list.ts'
import { dnsName, ipAddress } from '../../src/pki/names.ts'
import { parseSubject, subjectText } from '../../src/pki/subject.ts'
import { temporaryFolder } from '../support/cleanup.ts'
import { suiteScope } from '../support/command.ts'
import { openssl } from './openssl.ts'

/** Undefined where it is refused as wrong use; anything else is a defect. */
async function unlessRefused<T>(act: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof SluiceError && error.code === 'WRONG_USE') return undefined
    throw error
  }
}

const good = fc.stringMatching(/^[A-Za-z0-9:_-][A-Za-z0-9:_.-]{0,20}$/)
// Few characters, so that names meet each other's files.
const close = fc.stringMatching(/^[ab][:_]?[ab]?$/)
const anything = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('..', '../../x', '/etc/x', 'a/../../b', 'a\0b', '.hidden', 'CON', '-rf', 'server-ec', 'ca'),
)
const names = fc.oneof({ weight: 5, arbitrary: good }, close, anything)
const value = fc.string({
  unit: fc.oneof(
    fc.constantFrom(',', '+', '"', '\\', '<', '>', ';', '#', '=', ' ', '\t'),
    fc.string({ unit: 'binary', maxLength: 1 }),
  ),
})
const escaped = value.map((text) => text.replaceAll(/[,+"\\<>;]/g, String.raw`\$&`))
const attribute = fc
  .tuple(
    fc.constantFrom('CN', 'O', 'OU', 'L', 'ST', 'C', 'serialNumber', 'dnQualifier', 'XX'),
    fc.oneof(escaped, value),
  )
  .map(([type, text]) => `${type}=${text}`)
const subjects = fc.option(
  fc.oneof(
    fc.array(attribute, { minLength: 1, maxLength: 3 }).map((all) => all.join(',')),
    fc.string({ unit: 'grapheme' }).map((text) => `CN=x${text.replaceAll(/[,+"\\<>;]/g, '')}`),
  ),
  { nil: undefined },
)

describe('random names and subjects', () => {
  const scope = suiteScope()
  let outside = ''
  let folder = ''
  before(async () => {
    outside = await temporaryFolder(scope)
    folder = join(outside, 'deep', 'down', 'pki')
    await ensurePki(folder)
  })

  test('give sound certificates in the folder, or nothing', async () => {
    const issued: Issued[] = []
    await fc.assert(
      fc.asyncProperty(names, subjects, async (name, subject) => {
        const made = await unlessRefused(() => issueDevice(folder, { name, ...(subject !== undefined && { subject }) }))
        if (made === undefined) return
        issued.push(made)
        equal(dirname(made.certificate), join(folder, 'devices'))
        const certificate = new X509Certificate(readFileSync(made.certificate))
        equal(certificate.fingerprint256.replaceAll(':', '').toLowerCase(), made.fingerprint)
        deepEqual(parseSubject(made.subject), parseSubject(subject ?? `CN=${name}`))
        ok(existsSync(made.key ?? ''))
      }),
      { numRuns: 600 },
    )
    ok(issued.length > 100, `only ${issued.length} were issued`)

    // No name took another's file, and nothing is beside the folder.
    equal(new Set(issued.map(({ certificate }) => certificate)).size, issued.length)
    for (const { certificate, fingerprint } of issued)
      equal(
        new X509Certificate(readFileSync(certificate)).fingerprint256.replaceAll(':', '').toLowerCase(),
        fingerprint,
      )
    deepEqual(
      (await listCertificates(folder)).slice(3).map(({ fingerprint }) => fingerprint),
      issued.map(({ fingerprint }) => fingerprint),
    )
    deepEqual(globSync(['*', 'deep/*', 'deep/down/*'], { cwd: outside }).toSorted(), [
      'deep',
      'deep/down',
      'deep/down/pki',
    ])
    equal(globSync('devices/*', { cwd: folder }).length, 2 * issued.length + 2)

    // openssl takes them at its strictest.
    const files = issued.map(({ certificate }) => certificate)
    const said = openssl('verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile', join(folder, 'ca.pem'), ...files)
    equal(said.match(/: OK$/gm)?.length, issued.length)
  })
})

test('a subject that is read is read the same once it is written', async () => {
  await fc.assert(
    fc.asyncProperty(subjects, async (text) => {
      const subject = await unlessRefused(() => parseSubject(text ?? ''))
      if (subject === undefined) return
      for (const part of subject) ok(!/[\p{Cc}\p{Cs}]/u.test(part.value) && part.value !== '')
      deepEqual(parseSubject(subjectText(subject)), subject)
    }),
    { numRuns: 5000 },
  )
})

test('spaces at the ends of a value are kept where they are escaped, RFC 4514', () => {
  for (const [text, is] of [
    ['L=  a b  ', 'a b'],
    [String.raw`L=\ a\ `, ' a '],
    [String.raw`L=a\\ `, 'a\\'],
    [String.raw`L=\ `, ' '],
    ['L=\\\u2028a', '\u2028a'],
  ] as const)
    equal(parseSubject(text)[0]?.value, is, text)
})

test('what passes for a DNS name or an address is one', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.domain(),
        fc.ipV4(),
        fc.ipV6(),
        fc.stringMatching(/^[a0.:*_-]{0,20}$/),
      ),
      (text) => {
        const name = dnsName(text)
        const address = ipAddress(text)
        ok(name === undefined || address === undefined)
        if (name !== undefined) {
          ok(/^[a-z0-9_.*-]{1,253}$/.test(name) && /[a-z]/.test(name) && !name.includes('..'))
          equal(dnsName(name), name)
        }
        if (address !== undefined) {
          ok(/^[0-9a-f.:]+$/.test(address))
          equal(ipAddress(address), address)
        }
      },
    ),
    { numRuns: 5000 },
  )
  fc.assert(fc.property(fc.ipV4(), (text) => equal(ipAddress(text), text)))
  fc.assert(fc.property(fc.ipV6(), (text) => ok(ipAddress(text) !== undefined)))
})
