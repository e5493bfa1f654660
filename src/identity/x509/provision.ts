import { isDeepStrictEqual } from 'node:util'
import type { Thing } from '../../core/directory.ts'
import type { AuthMethodContext } from '../method.ts'
import type { CertificateRecord } from '../records.ts'
import type { Authority } from './authorities.ts'
import type { ClientCertificate } from './certificate.ts'
import { TemplateFailure } from './expressions.ts'
import type { Provisions } from './template.ts'

/** How often it is tried while others write the same records: another ingest may be provisioning the same device. */
const attempts = 5

/**
 * Just-in-time provisioning (AWS, "Just-in-time provisioning"): makes the thing and the policies of the authority's template and
 * activates the certificate. Everything is looked at before anything is written, and the certificate is PENDING_ACTIVATION until all of it is
 * there: who breaks off in the middle has given nobody anything, and the next connect goes on from there. Gives the record as it
 * is now, whoever wrote it. Throws TemplateFailure where the template has no result for this certificate; rejects when the store is
 * away.
 */
export async function provision(
  certificate: ClientCertificate,
  authority: Authority,
  context: AuthMethodContext,
): Promise<CertificateRecord> {
  const { records, now } = context
  const { fingerprint, facts } = certificate
  if (authority.template === undefined) throw new TemplateFailure('the authority has no template')
  const wanted = authority.template.render(facts)
  mustExist(wanted, context)
  const attached = {
    ...(wanted.thing !== undefined && { thing: wanted.thing.name }),
    policies: wanted.policies.map(({ name }) => name),
    authority: authority.name,
  }

  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const current = records.certificate(fingerprint)
    if (current !== undefined && current.status !== 'PENDING_ACTIVATION') return current
    const thing = wanted.thing && thingFor(wanted.thing, authority, context)
    const base = { fingerprint, registeredAt: current?.registeredAt ?? now(), ...attached }
    const pending: CertificateRecord = { ...base, status: 'PENDING_ACTIVATION' }
    if (!isDeepStrictEqual(current, pending) && !(await records.putCertificate(pending, current))) continue
    if (thing?.write !== undefined && !(await records.putThing(thing.write, thing.before))) continue
    if (!(await putPolicies(wanted, context))) continue
    const done: CertificateRecord = { ...base, status: wanted.status }
    if (await records.putCertificate(done, pending)) return done
  }
  throw new TemplateFailure('others keep changing the same records; the next connect tries again')
}

async function putPolicies({ policies }: Provisions, { records }: AuthMethodContext): Promise<boolean> {
  for (const { name, document } of policies) {
    if (document !== undefined && !(await records.putPolicy({ name, document }))) return false
  }
  return true
}

/** Names that lead nowhere, and documents that policy/ doesn't take. */
function mustExist({ thing, policies }: Provisions, { registry, examinePolicyDocument }: AuthMethodContext): void {
  for (const { name, document } of policies) {
    if (document === undefined) {
      if (registry.policiesNamed([name])[0]?.document === undefined)
        throw new TemplateFailure(`there is no policy "${name}" in identity/`)
      continue
    }
    const [complaint] = examinePolicyDocument(document)
    if (complaint !== undefined)
      throw new TemplateFailure(`${['PolicyDocument', complaint.path].filter(Boolean).join('.')}: ${complaint.message}`)
  }
  for (const group of thing?.groups ?? []) {
    if (registry.group(group) === undefined) throw new TemplateFailure(`there is no group "${group}" in identity/`)
  }
}

/**
 * What is to be written of the thing; nothing where it is as it should be, or in the files, which win. AWS attaches to any thing
 * of that name. Here one that this authority has not made itself is refused unless its entry says otherwise: its policies were
 * meant for somebody else.
 */
function thingFor(
  { name, type, attributes, groups, override }: NonNullable<Provisions['thing']>,
  authority: Authority,
  { registry, records }: AuthMethodContext,
): { readonly write: Thing | undefined; readonly before: Thing | undefined } {
  const existing = registry.thing(name)
  const fresh: Thing = {
    name,
    ...(type !== undefined && { type }),
    attributes: attributes ?? {},
    groups: groups ?? [],
    policies: [],
  }
  if (existing === undefined) return { write: fresh, before: undefined }
  const recorded = records.thing(name)
  const own = existing === recorded && isMadeBy(authority, name, records.certificates())
  if (authority.existingThings !== 'attach' && !own)
    throw new TemplateFailure(
      `there is a thing "${name}" already that this authority has not made; "existingThings: attach" allows it`,
    )
  const conflict = (what: string): never => {
    throw new TemplateFailure(`the thing "${name}" has other ${what} already, and OverrideSettings say FAIL`)
  }
  const chosen: Thing = {
    ...existing,
    ...typeFor(existing, type, override.ThingTypeName, conflict),
    attributes: choose(existing.attributes, attributes, override.AttributePayload, conflict, 'attributes', (a, b) => ({
      ...a,
      ...b,
    })),
    groups: choose(existing.groups, groups, override.ThingGroups, conflict, 'groups', (a, b) => [
      ...new Set([...a, ...b]),
    ]),
  }
  if (recorded === undefined || existing !== recorded || isDeepStrictEqual(chosen, recorded))
    return { write: undefined, before: recorded }
  return { write: chosen, before: recorded }
}

/**
 * Whether an authority has made a thing of the records. A certificate of its that still waits says only that it was about to: so it
 * goes on where it broke off, unless another authority has come first.
 */
function isMadeBy({ name }: Authority, thing: string, certificates: Iterable<CertificateRecord>): boolean {
  const about = [...certificates].filter((record) => record.thing === thing)
  const own = about.filter(({ authority }) => authority === name)
  if (own.some(({ status }) => status !== 'PENDING_ACTIVATION')) return true
  return own.length > 0 && own.length === about.length
}

function typeFor(
  existing: Thing,
  wanted: string | undefined,
  setting: 'DO_NOTHING' | 'REPLACE' | 'FAIL' | undefined,
  conflict: (what: string) => never,
): Pick<Thing, 'type'> {
  const type = choose(existing.type, wanted, setting, conflict, 'type', (_, other) => other)
  return type === undefined ? {} : { type }
}

/** AWS, "OverrideSettings". What the template doesn't say stays as it is. */
function choose<Value>(
  existing: Value,
  wanted: NonNullable<Value> | undefined,
  setting: 'DO_NOTHING' | 'REPLACE' | 'FAIL' | 'MERGE' | undefined,
  conflict: (what: string) => never,
  what: string,
  merge: (existing: NonNullable<Value>, wanted: NonNullable<Value>) => Value,
): Value {
  if (wanted === undefined || isDeepStrictEqual(existing, wanted)) return existing
  switch (setting) {
    case undefined:
    case 'DO_NOTHING':
      return existing
    case 'FAIL':
      return conflict(what)
    case 'MERGE':
      return existing === undefined || existing === null ? wanted : merge(existing, wanted)
    case 'REPLACE':
      return wanted
  }
}
