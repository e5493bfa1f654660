import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'

/**
 * A slow, obvious reading of the policy language, written from AWS's pages (aws-security §6, §7) and docs/decisions, for the properties
 * in test/policy and as the baseline of bench/policy.ts: no certainties, no plans, a regular expression for every pattern each time.
 * Each question says what a doubt counts as: for an Allow `false`, for a Deny `true`, and turned round under a negation. It knows
 * well-formed documents, and nothing else.
 */
export interface OracleStatement {
  readonly Effect: 'Allow' | 'Deny'
  readonly Action?: string | readonly string[]
  readonly NotAction?: string | readonly string[]
  readonly Resource?: string | readonly string[]
  readonly NotResource?: string | readonly string[]
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, string | readonly string[]>>>>
}

export interface OracleDocument {
  readonly Version: '2012-10-17'
  readonly Statement: readonly OracleStatement[]
}

export interface OracleDecision {
  readonly decision: 'allow' | 'deny'
  readonly explicit: boolean
  readonly statement?: { readonly document: number; readonly statement: number }
}

/** The documents in force, those of the context's role counted on after them. */
export function oracleDecision(
  documents: readonly OracleDocument[],
  request: PolicyRequest,
  context: PolicyContext,
): OracleDecision {
  // "PUBLISH with RETAIN=1: iot:RetainPublish in addition to iot:Publish".
  if (request.retain === true && request.action.toLowerCase() === 'iot:publish') {
    const publish = decideOne(documents, request, context)
    if (publish.decision === 'deny') return publish
    const retain = decideOne(documents, { ...request, action: 'iot:RetainPublish' }, context)
    return retain.decision === 'deny' ? retain : publish
  }
  return decideOne(documents, request, context)
}

const scoped = [
  'Connect',
  'Publish',
  'Subscribe',
  'Receive',
  'GetThingShadow',
  'UpdateThingShadow',
  'DeleteThingShadow',
]

function decideOne(
  documents: readonly OracleDocument[],
  request: PolicyRequest,
  context: PolicyContext,
): OracleDecision {
  const type = context.principal?.type
  if (type !== 'cognito-authenticated' && type !== 'cognito-unauthenticated') {
    return decideBy(documents, 0, request, context)
  }
  const role = (context.rolePolicies ?? []) as readonly OracleDocument[]
  const byRole = decideBy(role, documents.length, request, context)
  const isScoped = scoped.some((action) => `iot:${action}`.toLowerCase() === request.action.toLowerCase())
  if (type === 'cognito-unauthenticated' || !isScoped) return byRole
  const own = decideBy(documents, 0, request, context)
  // "An action is allowed only if both policies allow the requested action."
  if (own.decision === 'allow' && byRole.decision === 'allow') return own
  if (own.explicit) return own
  if (byRole.explicit) return byRole
  return { decision: 'deny', explicit: false }
}

function decideBy(
  documents: readonly OracleDocument[],
  first: number,
  request: PolicyRequest,
  context: PolicyContext,
): OracleDecision {
  const listing = request.action.toLowerCase() === 'iot:listnamedshadowsforthing' && request.resource === '*'
  const known = request.thingName !== undefined && context.region !== undefined && context.accountId !== undefined
  const resource =
    listing && known
      ? `arn:aws:iot:${context.region}:${context.accountId}:thing/${request.thingName}`
      : request.resource
  const asked = { ...request, resource }
  if (resource !== '*' && !/^arn:(?:[^:]*:){4}/.test(resource)) return { decision: 'deny', explicit: false }
  for (const effect of ['Deny', 'Allow'] as const) {
    for (const [document, { Statement }] of documents.entries()) {
      for (const [statement, content] of Statement.entries()) {
        if (content.Effect !== effect || !applies(content, asked, context, effect === 'Deny')) continue
        return {
          decision: effect === 'Deny' ? 'deny' : 'allow',
          explicit: effect === 'Deny',
          statement: { document: first + document, statement },
        }
      }
    }
  }
  return { decision: 'deny', explicit: false }
}

function applies(statement: OracleStatement, request: PolicyRequest, context: PolicyContext, doubt: boolean): boolean {
  const { Action, NotAction, Resource, NotResource, Condition } = statement
  const named = listOf(Action ?? NotAction).some((one) => wild(one.toLowerCase(), request.action.toLowerCase()))
  if (named !== (Action !== undefined)) return false
  const resource =
    Resource === undefined
      ? !listOf(NotResource).some((one) => arnMatches(one, request.resource, context, !doubt))
      : listOf(Resource).some((one) => arnMatches(one, request.resource, context, doubt))
  return (
    resource &&
    Object.entries(Condition ?? {}).every(([operator, block]) =>
      Object.entries(block).every(([key, values]) => conditionHolds(operator, key, listOf(values), context, doubt)),
    )
  )
}

/** Patterns without variables, as actions are. */
function wild(pattern: string, text: string): boolean {
  return fits(Array.from(pattern, wildcard), text)
}

/** What one place of a pattern takes: this character, any one character, or any run of them. */
type Piece = { is: string } | 'any one' | 'any run'

function wildcard(character: string): Piece {
  return character === '*' ? 'any run' : character === '?' ? 'any one' : { is: character }
}

function exactly(text: string): Piece[] {
  return Array.from(text, (is) => ({ is }))
}

/**
 * Whether the pieces take the whole text: for each piece in turn, every place in the text where it may end. A regular
 * expression says the same, and with many runs on a long text tries their lengths for hours.
 */
function fits(pieces: Piece[], text: string): boolean {
  const characters = Array.from(text)
  let ends = characters.map(() => false)
  ends.unshift(true)
  for (const piece of pieces) {
    if (piece === 'any run') {
      const first = ends.indexOf(true)
      ends = ends.map((_, place) => first !== -1 && place >= first)
    } else {
      ends = ends.map(
        (_, place) =>
          place > 0 && ends[place - 1] === true && (piece === 'any one' || piece.is === characters[place - 1]),
      )
    }
  }
  return ends.at(-1) === true
}

function arnMatches(pattern: string, resource: string, context: PolicyContext, doubt: boolean): boolean {
  if (/^\*+$/.test(pattern)) return true
  if (resource === '*') return false
  const wanted = cutArn(pattern)
  const given = cutArn(resource)
  return wanted.every((part, index) => matches(part, given[index] ?? '', context, doubt, true))
}

/** The first five parts, which hold no variables, and all the rest as the sixth; `arn:aws:iot:*` is everything below. */
function cutArn(arn: string): string[] {
  const parts = arn.split(':')
  while (parts.length < 6) parts.push('*')
  return [...parts.slice(0, 5), parts.slice(5).join(':')]
}

function matches(pattern: string, text: string, context: PolicyContext, doubt: boolean, wildcards: boolean): boolean {
  const pieces: Piece[] = []
  for (const [piece] of pattern.matchAll(/\$\{[^}]*\}|[^]/gu)) {
    if (/^\$\{[*?$]\}$/.test(piece)) pieces.push({ is: piece.slice(2, 3) })
    else if (piece.startsWith('${')) {
      const value = oracleText(piece.slice(2, -1), context)
      if (value !== undefined) pieces.push(...exactly(value))
      else if (doubt) pieces.push('any run')
      else return false
    } else pieces.push(wildcards ? wildcard(piece) : { is: piece })
  }
  return fits(pieces, text)
}

/** The text with its variables in place; undefined where one has no value. */
function rendered(text: string, context: PolicyContext): string | undefined {
  let whole = true
  const result = text.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    const value = /^[*?$]$/.test(name) ? name : oracleText(name, context)
    if (value === undefined) whole = false
    return value ?? ''
  })
  return whole ? result : undefined
}

/** What `${name}` becomes. Names have one spelling, and a list stands in no single place. */
export function oracleText(name: string, context: PolicyContext): string | undefined {
  if (/\.List$|^iot:Certificate\.AvailableKeys$|^iot:ConnectAttributes$/.test(name)) return undefined
  return oracleValues(name, context)?.[0]
}

const attributes = [
  'DistinguishedNameQualifier',
  'Country',
  'Organization',
  'OrganizationalUnit',
  'State',
  'CommonName',
  'SerialNumber',
  'Title',
  'Surname',
  'GivenName',
  'Initials',
  'Pseudonym',
  'GenerationQualifier',
  'AlternativeName.RFC822Name',
  'AlternativeName.DNSName',
  'AlternativeName.DirectoryName',
  'AlternativeName.UniformResourceIdentifier',
  'AlternativeName.IPAddress',
]

/** The values of a variable or key: `undefined` among them for one that may not be used, `undefined` alone where there is no such name. */
export function oracleValues(name: string, context: PolicyContext): readonly (string | undefined)[] | undefined {
  const { protocol, clientId, thingName, certificate, principal } = context
  const given = (value: string | undefined) => (value === undefined ? [] : [value])
  const mqtt = protocol === 'mqtt' || protocol === 'mqtt-ws'
  const client = mqtt && clientId !== '' ? clientId : undefined
  const isOurs = context.isAttached === true && (context.exclusiveThing === true || (mqtt && clientId === thingName))
  const thing = isOurs && thingName !== '' ? thingName : undefined
  const ofThing = (value: string | undefined) => given(thing === undefined ? undefined : value)
  const address = context.sourceIp === undefined ? undefined : unmapped(context.sourceIp)
  const { currentTime } = context
  const cognito = principal?.type.startsWith('cognito-') === true && principal.identityId !== ''

  const attribute = /^iot:Connection\.Thing\.Attributes\[([^\]]+)\]$/.exec(name)?.[1]
  if (attribute !== undefined) return ofThing(context.thingAttributes?.[attribute])
  const side = /^iot:Certificate\.(Subject|Issuer)\.(.+?)(?:\.(List|[1-9]\d?))?$/.exec(name)
  if (side !== null && attributes.includes(side[2] ?? '')) {
    const values = certificateValues(context, side[1] ?? '', side[2] ?? '')
    if (side[3] === 'List') return values
    const at = Number(side[3] ?? 0)
    return values.slice(at, at + 1)
  }
  switch (name) {
    case 'iot:ClientId':
      return given(client)
    case 'iot:DomainName':
      return given(context.domainName)
    case 'iot:Connection.Thing.ThingName':
    case 'iot:Thing.ThingName':
      return given(thing)
    case 'iot:Connection.Thing.ThingTypeName':
      return ofThing(context.thingType)
    case 'iot:Connection.Thing.IsAttached':
      return [thing === undefined ? 'false' : 'true']
    case 'iot:CertificateId':
      return given(certificate?.certificateId)
    case 'iot:Certificate.SerialNumber':
      return given(certificate?.serialNumber)
    case 'iot:Certificate.AvailableKeys':
      return ['Issuer', 'Subject'].flatMap((side) =>
        attributes
          .filter((attribute) => certificateValues(context, side, attribute)[0] !== undefined)
          .map((attribute) => `iot:Certificate.${side}.${attribute}`),
      )
    case 'iot:ConnectAttributes':
      return context.connectAttributes ?? []
    case 'iot:LastWillTopic':
      if (context.lastWillTopic === undefined) return []
      if (context.region === undefined || context.accountId === undefined) return [undefined]
      return [`arn:aws:iot:${context.region}:${context.accountId}:topic/${context.lastWillTopic}`]
    case 'aws:SourceIp':
      return given(address)
    case 'aws:SourceVpc':
      return given(context.sourceVpc)
    case 'aws:SourceVpce':
      return given(context.sourceVpce)
    case 'aws:VpcSourceIp':
      return context.sourceVpc === undefined && context.sourceVpce === undefined ? [] : given(address)
    case 'aws:CurrentTime':
      return given(currentTime === undefined ? undefined : new Date(currentTime).toISOString())
    case 'aws:EpochTime':
      return given(currentTime === undefined ? undefined : String(Math.floor(currentTime / 1000)))
    case 'cognito-identity.amazonaws.com:sub':
      return given(cognito ? principal?.identityId : undefined)
  }
  return undefined
}

/** "Limited to five items"; a value with a wildcard, or of more than 1024 characters, is not put in; some characters are escaped. */
function certificateValues({ certificate }: PolicyContext, side: string, attribute: string): (string | undefined)[] {
  const whole = side === 'Subject' ? certificate?.subject : certificate?.issuer
  const alternative = attribute.startsWith('AlternativeName.')
  const part = alternative ? whole?.['alternativeName'] : whole
  const values = (part as Record<string, unknown> | undefined)?.[attribute.replace('AlternativeName.', '')]
  return (Array.isArray(values) ? (values as readonly string[]) : [])
    .slice(0, 5)
    .map((value) =>
      /[*$+?#]/.test(value) || value.length > 1024
        ? undefined
        : value.replace(/[,"\\=<>;]/g, (character) => `\\${character}`),
    )
}

const fixedNames = [
  'iot:ClientId',
  'iot:DomainName',
  'iot:Connection.Thing.ThingName',
  'iot:Thing.ThingName',
  'iot:Connection.Thing.ThingTypeName',
  'iot:Connection.Thing.IsAttached',
  'iot:CertificateId',
  'iot:Certificate.SerialNumber',
  'iot:Certificate.AvailableKeys',
  'iot:ConnectAttributes',
  'iot:LastWillTopic',
  'aws:SourceIp',
  'aws:SourceVpc',
  'aws:SourceVpce',
  'aws:VpcSourceIp',
  'aws:CurrentTime',
  'aws:EpochTime',
  'cognito-identity.amazonaws.com:sub',
  ...['Issuer', 'Subject'].flatMap((side) => attributes.map((attribute) => `iot:Certificate.${side}.${attribute}`)),
]

/** Keys of conditions have any case, but for the name of a thing's attribute. */
function valuesOfKey(key: string, context: PolicyContext): readonly (string | undefined)[] | undefined {
  const attribute = /^iot:Connection\.Thing\.Attributes(\[.*)$/i.exec(key)?.[1]
  if (attribute !== undefined) return oracleValues(`iot:Connection.Thing.Attributes${attribute}`, context)
  const ending = /\.(list|[1-9]\d?)$/i.exec(key)?.[0] ?? ''
  const base = key.slice(0, key.length - ending.length).toLowerCase()
  const proper = fixedNames.find((name) => name.toLowerCase() === base)
  return proper === undefined ? undefined : oracleValues(proper + ending.toLowerCase().replace('list', 'List'), context)
}

function conditionHolds(
  name: string,
  key: string,
  wanted: readonly string[],
  context: PolicyContext,
  doubt: boolean,
): boolean {
  const values = valuesOfKey(key, context)
  if (values === undefined) return doubt
  const exists = values.length > 0
  if (name === 'Null') return wanted.some((text) => text.toLowerCase() === String(!exists))
  const set = /^ForA(?:llValues|nyValue):/.exec(name)?.[0] ?? ''
  const ifExists = name.endsWith('IfExists')
  const operator = name.slice(set.length).replace(/IfExists$/, '')
  const negated = operator.includes('Not')
  if (!exists) return ifExists || set === 'ForAllValues:' || (set === '' && negated)
  const holdsFor = (value: string | undefined, doubt: boolean): boolean => {
    if (value === undefined) return doubt
    const one = (text: string): boolean =>
      compare(operator.replace('Not', ''), value, text, context, negated ? !doubt : doubt)
    return negated ? !wanted.some(one) : wanted.some(one)
  }
  if (set === 'ForAllValues:') return values.every((value) => holdsFor(value, doubt))
  if (set === 'ForAnyValue:') return values.some((value) => holdsFor(value, doubt))
  return doubt ? values.some((value) => holdsFor(value, true)) : values.every((value) => holdsFor(value, false))
}

function compare(operator: string, given: string, wanted: string, context: PolicyContext, doubt: boolean): boolean {
  /** Both sides read, and a doubt where one can't be. */
  const read = <Left, Right>(
    left: Left | undefined,
    reader: (text: string) => Right | undefined,
    holds: (left: Left, right: Right) => boolean,
  ): boolean => {
    const text = rendered(wanted, context)
    const right = text === undefined ? undefined : reader(text)
    return left === undefined || right === undefined ? doubt : holds(left, right)
  }
  const ordered = (left: number | undefined, reader: (text: string) => number | undefined, kind: string): boolean =>
    read(left, reader, (left, right) => {
      if (kind === 'Equals') return left === right
      if (left === right) return kind.endsWith('ThanEquals')
      return kind.startsWith('Less') ? left < right : left > right
    })

  const kind = /^(?:Numeric|Date)(.+)$/.exec(operator)?.[1]
  if (kind !== undefined && operator.startsWith('Numeric')) return ordered(numberOf(given), numberOf, kind)
  if (kind !== undefined) return ordered(secondsOf(given), secondsOf, kind)
  switch (operator) {
    case 'StringEquals':
      return matches(wanted, given, context, doubt, false)
    case 'StringEqualsIgnoreCase':
      return read(
        given.toLowerCase(),
        (text) => text.toLowerCase(),
        (left, right) => left === right,
      )
    case 'StringLike':
      return matches(wanted, given, context, doubt, true)
    case 'Bool':
      return read(booleanOf(given), booleanOf, (left, right) => left === right)
    case 'BinaryEquals':
      return read(
        Buffer.from(given).toString('base64'),
        (text) => text,
        (left, right) => left === right,
      )
    case 'IpAddress':
      return read(addressOf(given), rangeOf, (address, range) => range(address))
    case 'ArnEquals':
    case 'ArnLike':
      if (/^\*$/.test(wanted)) return true
      return /^arn(:[^:]*){4}:/.test(given) ? arnMatches(wanted, given, context, doubt) : doubt
    default:
      throw new Error(`the oracle doesn't know ${operator}`)
  }
}

function booleanOf(text: string): boolean | undefined {
  return /^true$/i.test(text) ? true : /^false$/i.test(text) ? false : undefined
}

function numberOf(text: string): number | undefined {
  return /^[+-]?(\d+(\.\d+)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number.parseFloat(text) : undefined
}

/** Seconds since 1970 of a day, a time with its zone, or such seconds; four digits are neither. */
function secondsOf(text: string): number | undefined {
  if (/^(\d{1,3}|\d{5,12})(\.\d{1,9})?$|^\d{4}\.\d{1,9}$/.test(text)) return Number(text)
  const found = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d\d):(\d\d)))?$/.exec(
    text,
  )
  if (found === null) return undefined
  const part = (index: number) => Number(found[index] ?? 0)
  const date = new Date(Date.UTC(part(1), part(2) - 1, part(3)))
  if (date.getUTCMonth() !== part(2) - 1 || date.getUTCDate() !== part(3)) return undefined
  if (part(4) > 23 || part(5) > 59 || part(6) > 59) return undefined
  const zone = (part(9) * 60 + part(10)) * 60 * (found[8] === '-' ? -1 : 1)
  const fraction = Math.floor(Number(`0.${found[7] ?? 0}`) * 1000) / 1000
  return date.getTime() / 1000 + part(4) * 3600 + part(5) * 60 + part(6) + fraction - zone
}

interface OracleAddress {
  readonly bits: 32 | 128
  readonly number: bigint
}

function addressOf(text: string): OracleAddress | undefined {
  const bare = text.replace(/%.*$/, '')
  const parts = bare.split('.').map(Number)
  if (!bare.includes(':')) {
    if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(bare) || parts.some((part) => part > 255)) return undefined
    return { bits: 32, number: parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n) }
  }
  const number = sixteenBytes(bare)
  if (number === undefined) return undefined
  return number >> 32n === 0xffffn ? { bits: 32, number: number & 0xffffffffn } : { bits: 128, number }
}

/** The number of an IPv6 address, an IPv4 one inside it written either way. */
function sixteenBytes(text: string): bigint | undefined {
  const dotted = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((group) => group.toString(16)).join(':'),
  )
  const [left = '', right] = dotted.split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':'))
  const [before, after] = [groups(left), groups(right ?? '')]
  const zeros = right === undefined ? 0 : 8 - before.length - after.length
  const all = [...before, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...after]
  if (all.length !== 8 || all.some((group) => !/^[\da-f]{1,4}$/i.test(group))) return undefined
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n)
}

/** Ranges hold addresses of their own family; one of addresses that are IPv4 inside IPv6 is an IPv4 range. */
function rangeOf(text: string): ((address: OracleAddress) => boolean) | undefined {
  const [base = '', length] = text.split('/')
  const whole = base.includes(':') ? sixteenBytes(base) : addressOf(base)?.number
  if (whole === undefined) return undefined
  const longest = base.includes(':') ? 128 : 32
  const fixed = length === undefined ? longest : Number(length)
  const asFour = longest === 128 && whole >> 32n === 0xffffn && fixed >= 96
  const bits = asFour ? 32 : longest
  const start = asFour ? whole & 0xffffffffn : whole
  const rest = BigInt(longest - fixed)
  return (address) => address.bits === bits && address.number >> rest === start >> rest
}

/** An IPv4 address inside IPv6 as the IPv4 address. The generators write all others in their one usual spelling. */
function unmapped(text: string): string {
  const address = addressOf(text)
  if (address?.bits !== 32 || !text.includes(':')) return text.replace(/%.*$/, '')
  return [24n, 16n, 8n, 0n].map((shift) => String((address.number >> shift) & 255n)).join('.')
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value
}
