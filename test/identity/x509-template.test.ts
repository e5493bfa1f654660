import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { CertificateFacts } from '../../src/core/certificate.ts'
import { readTemplate } from '../../src/identity/x509/template.ts'

const id = 'ab'.repeat(32)
const certificate = {
  Type: 'AWS::IoT::Certificate',
  Properties: { CertificateId: { Ref: 'AWS::IoT::Certificate::Id' }, Status: 'ACTIVE' },
}
const text = { Type: 'String' }
const subject = {
  Country: ['DE', 'FR'],
  Organization: ['Acme'],
  OrganizationalUnit: ['line-7'],
  DistinguishedNameQualifier: ['q'],
  State: ['HH'],
  CommonName: ['d-17'],
  SerialNumber: ['0007'],
}

function template(resources: object, parameters: object = {}, mappings: object = {}) {
  return {
    Parameters: { 'AWS::IoT::Certificate::Id': text, ...parameters },
    Mappings: mappings,
    Resources: { certificate, ...resources },
  }
}

const thing = (properties: object) => ({ thing: { Type: 'AWS::IoT::Thing', Properties: properties } })

function rendered(body: unknown, facts: CertificateFacts = { certificateId: id, subject }) {
  const read = readTemplate(body)
  assert.deepEqual(read.complaints, [])
  assert.ok(read.template !== undefined)
  return read.template.render(facts)
}

/** The name of a thing that an expression gives. */
const named = (expression: unknown, parameters: object = {}, mappings: object = {}) =>
  rendered(template(thing({ ThingName: expression }), parameters, mappings)).thing?.name

const complaints = (body: unknown) => readTemplate(body).complaints.map(({ path, message }) => `${path}: ${message}`)

describe('provisioning template', () => {
  it("reads AWS's own example, with the document as text", () => {
    const body = `{
      "Parameters": {
        "AWS::IoT::Certificate::CommonName": {"Type": "String"},
        "AWS::IoT::Certificate::SerialNumber": {"Type": "String"},
        "AWS::IoT::Certificate::Country": {"Type": "String"},
        "AWS::IoT::Certificate::Id": {"Type": "String"}
      },
      "Resources": {
        "thing": {
          "Type": "AWS::IoT::Thing",
          "Properties": {
            "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"},
            "AttributePayload": {"version": "v1", "serialNumber": {"Ref": "AWS::IoT::Certificate::SerialNumber"}},
            "ThingTypeName": "lightBulb-versionA",
            "ThingGroups": ["v1-lightbulbs", {"Ref": "AWS::IoT::Certificate::Country"}]
          },
          "OverrideSettings": {"AttributePayload": "MERGE", "ThingTypeName": "REPLACE", "ThingGroups": "DO_NOTHING"}
        },
        "certificate": {
          "Type": "AWS::IoT::Certificate",
          "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"},
          "OverrideSettings": {"Status": "DO_NOTHING"}
        },
        "policy": {
          "Type": "AWS::IoT::Policy",
          "Properties": {"PolicyDocument": "{\\"Version\\": \\"2012-10-17\\", \\"Statement\\": []}"}
        }
      }
    }`
    const { thing, policies, status } = rendered(body)
    assert.deepEqual(thing, {
      name: 'd-17',
      type: 'lightBulb-versionA',
      attributes: { version: 'v1', serialNumber: '0007' },
      groups: ['v1-lightbulbs', 'DE'],
      override: { AttributePayload: 'MERGE', ThingTypeName: 'REPLACE', ThingGroups: 'DO_NOTHING' },
    })
    assert.equal(status, 'ACTIVE')
    assert.deepEqual(policies[0]?.document, { Version: '2012-10-17', Statement: [] })
    assert.match(policies[0]?.name ?? '', /^jitp-[0-9a-f]{64}$/)
    assert.deepEqual(readTemplate(body).mentions, [
      { kind: 'groups', name: 'v1-lightbulbs', path: 'template.Resources.thing.Properties.ThingGroups.0' },
    ])
  })

  it('has every parameter of a certificate, the first value of each', () => {
    for (const [name, value] of Object.entries({
      Country: 'DE',
      Organization: 'Acme',
      OrganizationalUnit: 'line-7',
      DistinguishedNameQualifier: 'q',
      StateName: 'HH',
      CommonName: 'd-17',
      SerialNumber: '0007',
      Id: id,
    })) {
      const parameter = `AWS::IoT::Certificate::${name}`
      assert.equal(named({ Ref: parameter }, { [parameter]: text }), value)
    }
  })

  it('fails where a declared parameter has no value, used or not, and takes its Default', () => {
    const parameter = 'AWS::IoT::Certificate::StateName'
    const facts = { certificateId: id, subject: { CommonName: ['x'] } }
    const body = (declared: object) => template({}, { [parameter]: declared })
    assert.throws(() => rendered(body(text), facts), /no value for AWS::IoT::Certificate::StateName/)
    assert.throws(() => rendered(body(text), { ...facts, subject: { ...facts.subject, State: [''] } }), /no value/)
    assert.equal(rendered(body({ Type: 'String', Default: 'HH' }), facts).status, 'ACTIVE')
  })

  it('calculates what functions say', () => {
    const cn = { Ref: 'AWS::IoT::Certificate::CommonName' }
    const parameters = { 'AWS::IoT::Certificate::CommonName': text, Place: { Type: 'String', Default: 'hh' } }
    const mappings = { Places: { hh: { name: 'hamburg' } } }
    const value = (expression: unknown) => named(expression, parameters, mappings)
    assert.equal(value({ 'Fn::Join': ['-', ['x', cn, 'y']] }), 'x-d-17-y')
    assert.equal(value({ 'Fn::Select': ['1', ['a', 'b']] }), 'b')
    assert.equal(value({ 'Fn::Select': [1, { 'Fn::Split': ['-', cn] }] }), '17')
    assert.equal(value({ 'Fn::FindInMap': ['Places', { Ref: 'Place' }, 'name'] }), 'hamburg')
    assert.equal(value({ 'Fn::Sub': 'x-${AWS::IoT::Certificate::CommonName}' }), 'x-d-17')
    assert.equal(value({ 'Fn::Sub': ['${a}-${Place}', { a: { 'Fn::Select': [0, ['z']] } }] }), 'z-hh')
    assert.throws(() => value({ 'Fn::Select': [5, ['a']] }), /no value number 5/)
    assert.throws(() => value({ 'Fn::FindInMap': ['Places', 'constructor', 'name'] }), /no such value/)
  })

  it('says what is wrong and where', () => {
    const at = 'template.Resources.thing.Properties'
    const cases: readonly (readonly [unknown, RegExp])[] = [
      ['{', /^template: is not JSON$/],
      [
        template(thing({ ThingName: { 'Fn::Select': [{ valueOf: 1, toString: 1 }, ['a']] } })),
        /must be \[index, \[values\]\]/,
      ],
      [[], /^template: /],
      [{ Resources: {} }, /^template\.Resources: must have one AWS::IoT::Certificate/],
      [template({ other: certificate }), /must have one AWS::IoT::Certificate/],
      [template({ ...thing({ ThingName: 'a' }), two: thing({ ThingName: 'b' }).thing }), /at most one AWS::IoT::Thing/],
      [template({ x: { Type: 'AWS::S3::Bucket' } }), /^template\.Resources\.x\.Type/],
      [
        template({}, { 'AWS::IoT::Certificate::Commonname': text }),
        /Default; did you mean "AWS::IoT::Certificate::CommonName"/,
      ],
      [template({}, { X: { Type: 'Number' } }), /^template\.Parameters\.X\.Type/],
      [template(thing({})), new RegExp(`^${at}\\.ThingName: must be text`)],
      [template(thing({ ThingName: { Ref: 'X' } })), /ThingName\.Ref: "X" is not declared/],
      [template(thing({ ThingName: { 'Fn::GetAtt': ['a', 'b'] } })), /Fn::GetAtt gives no text/],
      [template(thing({ ThingName: { 'Fn::Join': ['-'] } })), /must be \[separator, \[values\]\]/],
      [template(thing({ ThingName: { 'Fn::Sub': '${X}' } })), /"X" is not declared/],
      [template(thing({ ThingName: 'a', ThingGroups: 'field' })), /ThingGroups: must be a list/],
      [template(thing({ ThingName: 'a', Colour: 'red' })), /Colour/],
      [template({ p: { Type: 'AWS::IoT::Policy', Properties: {} } }), /either PolicyName.* or PolicyDocument/],
      [
        template({ p: { Type: 'AWS::IoT::Policy', Properties: { PolicyName: 'a', PolicyDocument: {} } } }),
        /either PolicyName.* or PolicyDocument/,
      ],
      [
        template({ p: { Type: 'AWS::IoT::Policy', Properties: { PolicyDocument: '{' } } }),
        /PolicyDocument: is not JSON/,
      ],
      [
        { Resources: { c: { Type: 'AWS::IoT::Certificate', Properties: { CertificateSigningRequest: 'x' } } } },
        /CertificateSigningRequest/,
      ],
      [
        { Resources: { c: { Type: 'AWS::IoT::Certificate', Properties: { CertificateId: id } } } },
        /CertificateId: must be \{"Ref":"AWS::IoT::Certificate::Id"\}/,
      ],
      [
        template({ certificate: { ...certificate, Properties: { ...certificate.Properties, Status: 'REVOKED' } } }),
        /Status: must be ACTIVE or INACTIVE/,
      ],
    ]
    for (const [body, expected] of cases) {
      const said = complaints(body)
      assert.ok(
        said.some((complaint) => expected.test(complaint)),
        `${expected} among ${said.join(' | ')}`,
      )
      assert.equal(readTemplate(body).template, undefined)
    }
  })

  it('lets no text of a subject be more than a name in a policy', () => {
    const parameter = 'AWS::IoT::Certificate::CommonName'
    const policy = (document: unknown) =>
      template({ p: { Type: 'AWS::IoT::Policy', Properties: { PolicyDocument: document } } }, { [parameter]: text })
    const documents = [
      { Resource: { Ref: parameter } },
      { 'Fn::Sub': `{"Resource":"\${${parameter}}"}` },
      { 'Fn::Join': ['', ['{"Resource":"', { Ref: parameter }, '"}']] },
    ]
    const body = (document: unknown) => policy(document)
    const of = (document: unknown, name: string) =>
      rendered(body(document), { certificateId: id, subject: { CommonName: [name] } }).policies[0]?.document
    for (const document of documents) {
      assert.deepEqual(of(document, 'd-17'), { Resource: 'd-17' })
      fc.assert(
        fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (name) => {
          let result: unknown
          try {
            result = of(document, name)
          } catch (error) {
            assert.match(String(error), /may not stand in a policy|no value/)
            return
          }
          assert.deepEqual(result, { Resource: name })
          assert.doesNotMatch(name, /[*?$#+/{}"\\]/)
        }),
      )
    }
  })

  it('never throws while it reads, whatever it is given', () => {
    const expression = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.jsonValue(),
        fc.record({ Ref: fc.constantFrom('AWS::IoT::Certificate::Id', 'X') }),
        fc
          .constantFrom('Fn::Join', 'Fn::Select', 'Fn::Split', 'Fn::FindInMap', 'Fn::Sub', 'Fn::X')
          .chain((name) => fc.array(tie('any'), { maxLength: 3 }).map((values) => ({ [name]: values }))),
      ),
    })).any
    fc.assert(
      fc.property(expression, expression, expression, (name, groups, document) => {
        const body = template({
          ...thing({ ThingName: name, ThingGroups: groups }),
          p: { Type: 'AWS::IoT::Policy', Properties: { PolicyDocument: document } },
        })
        const { complaints, template: read } = readTemplate(body)
        assert.equal(read === undefined, complaints.length > 0)
        try {
          read?.render({ certificateId: id, subject })
        } catch (error) {
          assert.equal((error as Error).constructor.name, 'TemplateFailure')
        }
        readTemplate(name)
      }),
    )
  })
})
