import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'

/**
 * A slow, obvious reading of the policy language for the properties in test/policy: no certainties, no plans, regular
 * expressions for wildcards. Each question says what a doubt counts as: for an Allow `false`, for a Deny `true`, and turned
 * round under a negation. It knows well-formed documents of the parts that the generators use, and nothing else.
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

export function oracleDecision(
  documents: readonly OracleDocument[],
  request: PolicyRequest,
  context: PolicyContext,
): 'allow' | 'explicit deny' | 'deny' {
  if (request.retain === true && request.action === 'iot:Publish') {
    const publish = oracleDecision(documents, { ...request, retain: false }, context)
    return publish === 'allow'
      ? oracleDecision(documents, { ...request, action: 'iot:RetainPublish', retain: false }, context)
      : publish
  }
  const statements = documents.flatMap((document) => document.Statement)
  const applying = statements.filter((statement) => applies(statement, request, context, statement.Effect === 'Deny'))
  if (applying.some((statement) => statement.Effect === 'Deny')) return 'explicit deny'
  return applying.length > 0 ? 'allow' : 'deny'
}

function applies(statement: OracleStatement, request: PolicyRequest, context: PolicyContext, doubt: boolean): boolean {
  const { Action, NotAction, Resource, NotResource, Condition } = statement
  const action =
    Action === undefined
      ? !listOf(NotAction).some((one) => glob(one.toLowerCase(), request.action.toLowerCase(), context, false))
      : listOf(Action).some((one) => glob(one.toLowerCase(), request.action.toLowerCase(), context, false))
  const resource =
    Resource === undefined
      ? !listOf(NotResource).some((one) => arnMatches(one, request.resource, context, !doubt))
      : listOf(Resource).some((one) => arnMatches(one, request.resource, context, doubt))
  return (
    action &&
    resource &&
    Object.entries(Condition ?? {}).every(([operator, block]) =>
      Object.entries(block).every(([key, values]) => conditionHolds(operator, key, listOf(values), context, doubt)),
    )
  )
}

function arnMatches(pattern: string, resource: string, context: PolicyContext, doubt: boolean): boolean {
  if (pattern === '*') return true
  if (resource === '*') return false
  const wanted = cutArn(pattern)
  const given = cutArn(resource)
  return wanted.every((part, index) => glob(part, given[index] ?? '', context, doubt))
}

/** The first five parts, and all the rest as the sixth. */
function cutArn(arn: string): string[] {
  const parts = arn.split(':')
  return [...parts.slice(0, 5), parts.slice(5).join(':')]
}

function glob(pattern: string, text: string, context: PolicyContext, doubt: boolean): boolean {
  return matches(pattern, text, context, doubt, true)
}

function matches(pattern: string, text: string, context: PolicyContext, doubt: boolean, wildcards: boolean): boolean {
  let source = ''
  for (const [piece] of pattern.matchAll(/\$\{[^}]*\}|[^]/gu)) {
    if (/^\$\{[*?$]\}$/.test(piece)) source += RegExp.escape(piece.slice(2, 3))
    else if (piece.startsWith('${')) {
      const value = oracleValues(piece.slice(2, -1), context)
      const [only] = value
      if (typeof only === 'string' && !piece.endsWith('List}') && piece !== '${iot:ConnectAttributes}')
        source += RegExp.escape(only)
      else if (doubt) source += '[^]*'
      else return false
    } else if (wildcards && piece === '*') source += '[^]*'
    else if (wildcards && piece === '?') source += '[^]'
    else source += RegExp.escape(piece)
  }
  return new RegExp(`^(?:${source})$`, 'u').test(text)
}

/** The values of a key; `undefined` among them for one that may not be used. */
export function oracleValues(key: string, context: PolicyContext): readonly (string | undefined)[] {
  const mqtt = context.protocol !== 'http'
  const thing =
    mqtt && context.isAttached === true && context.thingName === context.clientId ? context.thingName : undefined
  const names = context.certificate?.subject?.['CommonName']
  const common = (Array.isArray(names) ? names : [])
    .slice(0, 5)
    .map((name: string) =>
      /[*$+?#]/.test(name) || name.length > 1024 ? undefined : name.replace(/[,"\\=<>;]/g, String.raw`\$&`),
    )
  const table: Record<string, readonly (string | undefined)[]> = {
    'iot:ClientId': mqtt && context.clientId !== undefined ? [context.clientId] : [],
    'iot:Connection.Thing.ThingName': thing === undefined ? [] : [thing],
    'iot:Connection.Thing.IsAttached': [thing === undefined ? 'false' : 'true'],
    'iot:Certificate.Subject.CommonName': common.slice(0, 1),
    'iot:Certificate.Subject.CommonName.1': common.slice(1, 2),
    'iot:Certificate.Subject.CommonName.List': common,
    'iot:ConnectAttributes': context.connectAttributes ?? [],
  }
  return table[key] ?? [undefined]
}

function conditionHolds(
  name: string,
  key: string,
  wanted: readonly string[],
  context: PolicyContext,
  doubt: boolean,
): boolean {
  const values = oracleValues(key, context)
  const exists = values.length > 0
  // A key that nobody knows is neither there nor missing.
  const known = key !== 'iot:Unknown'
  if (!known) return doubt
  if (name === 'Null') return wanted.includes(String(!exists))
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
  switch (operator) {
    case 'StringEquals':
      return matches(wanted, given, context, doubt, false)
    case 'StringLike':
      return matches(wanted, given, context, doubt, true)
    case 'Bool':
      return given === wanted
    default:
      throw new Error(`the oracle doesn't know ${operator}`)
  }
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === 'string' ? [value] : value
}
