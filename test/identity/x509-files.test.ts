import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { formatProblem } from '../../src/core/problem.ts'
import { createRegistry } from '../../src/identity/registry.ts'
import { x509 } from '../../src/identity/x509.ts'
import { fingerprintOf } from '../../src/identity/x509/certificate.ts'
import { authContext } from '../support/auth-context.ts'
import { suiteScope } from '../support/command.ts'
import { loadFolder, writeConfig } from '../support/config-folder.ts'
import { openMaker } from './x509-makers.ts'

const maker = await openMaker(suiteScope())
const ca = maker.authority('/CN=Fleet CA')
const device = ca.issue({ subject: '/CN=d-17' })
const second = ca.issue({ subject: '/CN=d-17' })
const weak = ca.issue({ subject: '/CN=weak', newKey: ['rsa', '-pkeyopt', 'rsa_keygen_bits:1024'] })

const indented = (text: string) => text.trim().replaceAll('\n', '\n        ')

const template = `
      Parameters:
        AWS::IoT::Certificate::Id: { Type: String }
        AWS::IoT::Certificate::CommonName: { Type: String }
      Resources:
        thing:
          Type: AWS::IoT::Thing
          Properties: { ThingName: { Ref: 'AWS::IoT::Certificate::CommonName' }, ThingGroups: [field] }
        certificate:
          Type: AWS::IoT::Certificate
          Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' } }
        policy:
          Type: AWS::IoT::Policy
          Properties: { PolicyName: telemetry }
`

/** The problems of a configuration, or what it says. */
async function load(t: TestContext, files: Record<string, string>) {
  const folder = await writeConfig(t, { 'sluice.yaml': '', ...files })
  const { problems, config } = await loadFolder(folder, { authMethods: [x509] })
  return { problems: problems.map(formatProblem), config, folder }
}

describe('x509: in the files', () => {
  it('reads certificates, CRLs and templates from paths and in place', async (t) => {
    const { problems, config, folder } = await load(t, {
      'identity/a.yaml': `
things: [{ name: d-17 }]
groups: [{ name: field }]
policies: { telemetry: { Version: '2012-10-17', Statement: [] } }
principals:
  - name: d-17
    thing: d-17
    x509: [{ certificate: ../pki/device.pem }, { fingerprint: ${fingerprintOf(second.der)}, status: INACTIVE }]
  - name: in-place
    x509:
      certificate: |
        ${indented(maker.selfSigned('/CN=x', ['basicConstraints=CA:FALSE']).pem)}
certificateAuthorities:
  - { name: fleet, certificate: ../pki/ca.pem, crl: ../pki/ca.crl, register: provision, template: jitp.json }
  - name: other
    certificate: ../pki/other.pem
    register: provision
    template: ${template}`,
      'pki/device.pem': device.pem,
      'pki/ca.pem': ca.pem,
      'pki/other.pem': maker.authority('/CN=Other').pem,
      'pki/ca.crl': ca.crl([weak]),
      'identity/jitp.json': JSON.stringify({
        Parameters: { 'AWS::IoT::Certificate::Id': { Type: 'String' } },
        Resources: {
          certificate: {
            Type: 'AWS::IoT::Certificate',
            Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' } },
          },
        },
      }),
    })
    assert.deepEqual(problems, [])
    assert.ok(config !== undefined)
    assert.ok(config.directory.files.includes(`${folder}/pki/ca.crl`), 'they are watched')
    const { authenticate } = x509.open(authContext(createRegistry(config.directory)))
    const verdict = await authenticate({ protocol: 'mqtt', tls: { certificate: device.der } })
    assert.ok(verdict.kind === 'principal' && verdict.principal.name === 'd-17' && verdict.principal.thing === 'd-17')
    assert.equal((await authenticate({ protocol: 'mqtt', tls: { certificate: second.der } })).kind, 'refused')
  })

  it('says what is wrong with file, line and field, and no certificate stands in it', async (t) => {
    const { problems } = await load(t, {
      'identity/a.yaml': `
principals:
  - { name: a, x509: { fingerprint: zz } }
  - { name: b, x509: [{ certificate: ../weak.pem }, { certificate: ../device.pem }] }
  - { name: c, x509: { fingerprint: ${fingerprintOf(device.der)} } }
  - { name: d, x509: { certificate: ../device.key } }
  - { name: e, x509: { certificate: ../missing.pem } }
certificateAuthorities:
  - { name: f, certificate: ../device.pem }
  - { name: g, certificate: ../ca.pem, crl: ../other.crl }
  - { name: h, certificate: ../other.pem, register: provision }
  - { name: i, certificate: ../i.pem, template: {} }
  - name: j
    certificate: ../j.pem
    register: provision
    template: ${template.replace('telemetry', 'telemetri').replace('Ref: ', 'Reff: ')}
  - { name: k, certificate: ../ca.pem, maxPending: 0 }
  - { name: l, certificate: ../ca.pem }
policies: { telemetry: { Version: '2012-10-17', Statement: [] } }
`,
      'device.pem': device.pem,
      'device.key': device.key,
      'weak.pem': weak.pem,
      'ca.pem': ca.pem,
      'other.pem': maker.authority('/CN=Other').pem,
      'i.pem': maker.authority('/CN=I').pem,
      'j.pem': maker.authority('/CN=J').pem,
      'other.crl': maker.authority('/CN=Other').crl([]),
    })
    const all = problems.join('\n')
    for (const expected of [
      /a\.yaml:3:.*x509\.fingerprint.* 64 hex digits/,
      /a\.yaml:4:.*x509\.0\.certificate: its RSA key has 1024 bits/,
      /a\.yaml:5:.*"c" has here what "b" has \(identity\/a\.yaml:4/,
      /a\.yaml:6:.*x509\.certificate: there is no certificate in it/,
      /a\.yaml:7:.*missing\.pem/,
      /a\.yaml:9:.*certificate: it is not the certificate of an authority/,
      /a\.yaml:10:.*crl: another authority has issued it/,
      /a\.yaml:11:.*template must be there/,
      /a\.yaml:12:.*template has no use/,
      /a\.yaml:\d+:.*ThingName: must be text, \{"Ref": …\}/,
      /a\.yaml:\d+:.*there is no policy "telemetri"; did you mean "telemetry"\?/,
      /a\.yaml:\d+:.*there is no group "field"/,
      /a\.yaml:\d+:.*maxPending/,
      /a\.yaml:\d+:.*"l" has here what "g" has \(identity\/a\.yaml:10/,
    ])
      assert.match(all, expected)
    assert.doesNotMatch(all, /BEGIN|PRIVATE/)
  })
})
