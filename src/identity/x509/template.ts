import { hash } from 'node:crypto'
import { z } from 'zod'
import type { CertificateFacts } from '../../core/certificate.ts'
import type { Mention, PartComplaint } from '../../core/identity-part.ts'
import { suggestion } from '../../core/nearest.ts'
import { parsedJson } from '../../core/parsed-json.ts'
import {
  compileJson,
  compileList,
  compileText,
  type Compiling,
  type Render,
  type Scope,
  TemplateFailure,
} from './expressions.ts'

const override = ['DO_NOTHING', 'REPLACE', 'FAIL'] as const
const overrideOrMerge = [...override, 'MERGE'] as const
/** Left out, it is missed when it is compiled. */
const expression = z.unknown().exactOptional()

const thingResource = z.strictObject({
  Type: z.literal('AWS::IoT::Thing'),
  Properties: z.strictObject({
    ThingName: expression,
    AttributePayload: z.record(z.string(), expression).exactOptional(),
    ThingTypeName: expression,
    ThingGroups: expression,
    /** Read and left alone: Sluice bills nobody. */
    BillingGroup: expression,
  }),
  OverrideSettings: z
    .strictObject({
      AttributePayload: z.enum(overrideOrMerge).exactOptional(),
      ThingTypeName: z.enum(override).exactOptional(),
      ThingGroups: z.enum(overrideOrMerge).exactOptional(),
    })
    .exactOptional(),
})

const certificateResource = z.strictObject({
  Type: z.literal('AWS::IoT::Certificate'),
  Properties: z.strictObject({ CertificateId: expression, Status: z.string().exactOptional() }),
  /** The certificate is never there before; kept for templates that come from AWS. */
  OverrideSettings: z.strictObject({ Status: z.enum(override).exactOptional() }).exactOptional(),
})

const policyResource = z.strictObject({
  Type: z.literal('AWS::IoT::Policy'),
  Properties: z.strictObject({ PolicyName: expression, PolicyDocument: expression }),
})

const body = z.strictObject({
  Parameters: z
    .record(z.string(), z.strictObject({ Type: z.literal('String'), Default: z.string().exactOptional() }))
    .default({}),
  Mappings: z.record(z.string(), z.record(z.string(), z.record(z.string(), z.string()))).default({}),
  Resources: z.record(z.string(), z.discriminatedUnion('Type', [thingResource, certificateResource, policyResource])),
})

type Body = z.output<typeof body>
type OverrideSettings = NonNullable<z.output<typeof thingResource>['OverrideSettings']>

const prefix = 'AWS::IoT::Certificate::'
const idParameter = `${prefix}Id`

/** What a certificate gives a template (AWS, "Just-in-time provisioning"), by the attribute of its subject. */
const fromSubject: ReadonlyMap<string, string> = new Map([
  [`${prefix}Country`, 'Country'],
  [`${prefix}Organization`, 'Organization'],
  [`${prefix}OrganizationalUnit`, 'OrganizationalUnit'],
  [`${prefix}DistinguishedNameQualifier`, 'DistinguishedNameQualifier'],
  [`${prefix}StateName`, 'State'],
  [`${prefix}CommonName`, 'CommonName'],
  [`${prefix}SerialNumber`, 'SerialNumber'],
])

/** What a template makes of a certificate. Names in it are valid names; whether what they name exists is not looked at. */
export interface Provisions {
  readonly thing:
    | {
        readonly name: string
        readonly type: string | undefined
        readonly attributes: Readonly<Record<string, string>> | undefined
        readonly groups: readonly string[] | undefined
        readonly override: OverrideSettings
      }
    | undefined
  readonly policies: readonly { readonly name: string; readonly document?: unknown }[]
  readonly status: 'ACTIVE' | 'INACTIVE'
}

export interface Template {
  /** Throws TemplateFailure, with a sentence that says which parameter or name is at fault. */
  render(facts: CertificateFacts): Provisions
}

export interface ReadTemplate {
  readonly complaints: readonly PartComplaint[]
  /** Policies and groups that it names whatever the certificate says. */
  readonly mentions: readonly Mention[]
  /** Absent where there are complaints. */
  readonly template: Template | undefined
}

/** Reads a provisioning template, as an object or as JSON text. Paths start with `template`. */
export function readTemplate(value: unknown): ReadTemplate {
  const written = typeof value === 'string' ? parsedJson(value) : value
  if (written === undefined) return unreadable('template', 'is not JSON')
  const parsed = body.safeParse(written)
  if (!parsed.success) {
    return {
      complaints: parsed.error.issues.map(({ path, message }) => ({
        path: ['template', ...path].map(String).join('.'),
        message,
      })),
      mentions: [],
      template: undefined,
    }
  }
  return compile(parsed.data)
}

function compile({ Parameters, Mappings, Resources }: Body): ReadTemplate {
  const complaints: PartComplaint[] = []
  const mentions: Mention[] = []
  const complain = (path: string, message: string) => void complaints.push({ path, message })
  const compiling: Compiling = { parameters: new Set(Object.keys(Parameters)), mappings: Mappings, complain }
  for (const [name, { Default }] of Object.entries(Parameters)) {
    if (fromSubject.has(name) || name === idParameter || Default !== undefined) continue
    const near = suggestion(name, [...fromSubject.keys(), idParameter])
    complain(`template.Parameters.${name}`, `no certificate gives it a value, and it has no Default${near}`)
  }

  const things: Render<NonNullable<Provisions['thing']>>[] = []
  const policies: Render<Provisions['policies'][number]>[] = []
  const certificates: Provisions['status'][] = []
  for (const [name, resource] of Object.entries(Resources)) {
    const path = `template.Resources.${name}.Properties`
    switch (resource.Type) {
      case 'AWS::IoT::Thing':
        things.push(compileThing(resource, path, compiling, mentions))
        break
      case 'AWS::IoT::Policy':
        policies.push(compilePolicy(resource, path, compiling, mentions))
        break
      case 'AWS::IoT::Certificate':
        certificates.push(statusOf(resource, path, compiling))
    }
  }
  if (things.length > 1) complain('template.Resources', 'must have at most one AWS::IoT::Thing')
  const [status] = certificates
  if (status === undefined || certificates.length > 1)
    complain('template.Resources', 'must have one AWS::IoT::Certificate, with its CertificateId')
  if (complaints.length > 0 || status === undefined) return { complaints, mentions, template: undefined }
  return {
    complaints,
    mentions,
    template: {
      render(facts) {
        const values = valuesOf(Parameters, facts)
        return {
          thing: things[0]?.(plainly(values)),
          policies: policies.map((policy) => policy(plainly(values))),
          status,
        }
      },
    },
  }
}

function compileThing(
  { Properties, OverrideSettings = {} }: z.output<typeof thingResource>,
  path: string,
  compiling: Compiling,
  mentions: Mention[],
): Render<NonNullable<Provisions['thing']>> {
  const { ThingName, AttributePayload, ThingTypeName, ThingGroups, BillingGroup } = Properties
  const name = compileText(ThingName, `${path}.ThingName`, compiling)
  const type = ThingTypeName === undefined ? undefined : compileText(ThingTypeName, `${path}.ThingTypeName`, compiling)
  const groups = ThingGroups === undefined ? undefined : compileList(ThingGroups, `${path}.ThingGroups`, compiling)
  if (BillingGroup !== undefined) compileText(BillingGroup, `${path}.BillingGroup`, compiling)
  if (Object.keys(AttributePayload ?? {}).length > 50)
    compiling.complain(`${path}.AttributePayload`, 'must have at most 50 entries')
  const attributes = Object.entries(AttributePayload ?? {}).map(
    ([key, value]) => [key, compileText(value, `${path}.AttributePayload.${key}`, compiling)] as const,
  )
  for (const [index, group] of (Array.isArray(ThingGroups) ? ThingGroups : []).entries()) {
    if (typeof group === 'string') mentions.push({ kind: 'groups', name: group, path: `${path}.ThingGroups.${index}` })
  }
  return (scope) => ({
    name: checked('ThingName', entityName, name(scope)),
    type: type && checked('ThingTypeName', entityName, type(scope)),
    groups: groups?.(scope).map((group) => checked('ThingGroups', entityName, group)),
    attributes:
      AttributePayload &&
      Object.fromEntries(
        attributes.map(([key, value]) => [
          checked('AttributePayload', attributeName, key),
          checked(`AttributePayload.${key}`, attributeValue, value(scope)),
        ]),
      ),
    override: OverrideSettings,
  })
}

function compilePolicy(
  { Properties: { PolicyName, PolicyDocument } }: z.output<typeof policyResource>,
  path: string,
  compiling: Compiling,
  mentions: Mention[],
): Render<Provisions['policies'][number]> {
  if ((PolicyName === undefined) === (PolicyDocument === undefined))
    compiling.complain(path, 'must have either PolicyName, of a policy in identity/, or PolicyDocument')
  if (PolicyDocument === undefined) {
    const name = compileText(PolicyName ?? '', `${path}.PolicyName`, compiling)
    if (typeof PolicyName === 'string')
      mentions.push({ kind: 'policies', name: PolicyName, path: `${path}.PolicyName` })
    return (scope) => ({ name: checked('PolicyName', policyName, name(scope)) })
  }
  const at = `${path}.PolicyDocument`
  const written = typeof PolicyDocument === 'string' ? parsedJson(PolicyDocument) : PolicyDocument
  if (written === undefined) compiling.complain(at, 'is not JSON')
  const document = compileJson(written, at, compiling)
  return (scope) => {
    const rendered = document(guardedAgainstWildcards(scope))
    const value = typeof rendered === 'string' ? parsedJson(rendered) : rendered
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new TemplateFailure('PolicyDocument is not a policy document')
    return { name: `jitp-${hash('sha256', JSON.stringify(value))}`, document: value }
  }
}

function statusOf(
  { Properties: { CertificateId, Status = 'ACTIVE' } }: z.output<typeof certificateResource>,
  path: string,
  compiling: Compiling,
): Provisions['status'] {
  compileText(CertificateId, `${path}.CertificateId`, compiling)
  const reference = JSON.stringify({ Ref: idParameter })
  if (JSON.stringify(CertificateId) !== reference) compiling.complain(`${path}.CertificateId`, `must be ${reference}`)
  // An example of AWS's writes "Active".
  const status = Status.toUpperCase()
  if (status === 'ACTIVE' || status === 'INACTIVE') return status
  compiling.complain(`${path}.Status`, 'must be ACTIVE or INACTIVE')
  return 'INACTIVE'
}

/** AWS: provisioning fails if a declared parameter has no value. Of an attribute that is there several times, the first. */
function valuesOf(
  parameters: Body['Parameters'],
  { certificateId, subject }: CertificateFacts,
): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(parameters).map(([name, { Default }]) => {
      const attribute = fromSubject.get(name)
      const values = attribute === undefined ? undefined : subject?.[attribute]
      const own = name === idParameter ? certificateId : Array.isArray(values) ? (values[0] as string) : undefined
      const value = own === undefined || own === '' ? Default : own
      if (value === undefined) throw new TemplateFailure(`the certificate's subject has no value for ${name}`)
      return [name, value]
    }),
  )
}

function plainly(values: ReadonlyMap<string, string>): Scope {
  return {
    parameter(name) {
      const value = values.get(name)
      if (value === undefined) throw new TemplateFailure(`${name} has no value`)
      return value
    },
  }
}

/** In a policy a subject of `*`, `d/#` or `${…}` would be more than a name, so only what can't be is put there. */
function guardedAgainstWildcards(scope: Scope): Scope {
  return {
    parameter(name) {
      const value = scope.parameter(name)
      if (/^[\w.:@=, -]{1,128}$/.test(value)) return value
      throw new TemplateFailure(
        `${name} has characters that may not stand in a policy: letters, digits and _.:@=, - may`,
      )
    },
  }
}

/** As config/ has them for entries in files. */
const entityName = { pattern: /^[a-zA-Z0-9:_.-]{1,128}$/, says: '1 to 128 letters, digits, ":", "_", "." or "-"' }
const policyName = { pattern: /^[\w+=,.@-]{1,128}$/, says: '1 to 128 letters, digits or any of _ + = , . @ -' }
const attributeName = { pattern: /^[\w.,@/:#-]{1,128}$/, says: '1 to 128 letters, digits or any of _ . , @ / : # -' }
const attributeValue = { pattern: /^.{0,800}$/su, says: 'at most 800 characters' }

function checked(what: string, { pattern, says }: typeof entityName, value: string): string {
  if (pattern.test(value)) return value
  throw new TemplateFailure(`${what} is ${JSON.stringify(value.slice(0, 128))}; it must have ${says}`)
}

function unreadable(path: string, message: string): ReadTemplate {
  return { complaints: [{ path, message }], mentions: [], template: undefined }
}
