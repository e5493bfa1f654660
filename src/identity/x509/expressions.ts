/** Why a template has no result for a certificate; a sentence for the log. */
export class TemplateFailure extends Error {}

/** Values of a template's parameters. */
export interface Scope {
  /** Throws TemplateFailure where the parameter has no value, or none that may stand here. */
  parameter(name: string): string
}

export type Render<Value> = (scope: Scope) => Value

/** What expressions may refer to; collects what is wrong with them. */
export interface Compiling {
  readonly parameters: ReadonlySet<string>
  readonly mappings: Readonly<Record<string, unknown>>
  complain(path: string, message: string): void
}

const nothing: Render<never> = () => {
  throw new TemplateFailure('the template has problems')
}

/** More than any template needs, and no stack ends on it. */
const deepest = 20

/**
 * A text of a template: written out, `{"Ref": …}`, or one of the functions of AWS's provisioning templates (`Fn::Join`, `Fn::Select`,
 * `Fn::FindInMap`, `Fn::Sub`; AWS has them in fleet provisioning only).
 */
export function compileText(value: unknown, path: string, compiling: Compiling, depth = 0): Render<string> {
  if (typeof value === 'string') return () => value
  const call = callIn(value)
  if (call === undefined || depth > deepest)
    return wrong(compiling, path, 'must be text, {"Ref": …} or a function (Fn::…)')
  const { name, argument } = call
  const at = `${path}.${name}`
  switch (name) {
    case 'Ref':
      return compileReference(argument, at, compiling)
    case 'Fn::Join': {
      const [separator, list] = argumentsOf(argument, 2)
      if (typeof separator !== 'string') return wrong(compiling, at, 'must be [separator, [values]]')
      const values = compileList(list, at, compiling, depth + 1)
      return (scope) => values(scope).join(separator)
    }
    case 'Fn::Select': {
      const [written, list] = argumentsOf(argument, 2)
      const index = typeof written === 'string' || typeof written === 'number' ? Number(written) : Number.NaN
      if (!Number.isSafeInteger(index) || index < 0) return wrong(compiling, at, 'must be [index, [values]]')
      const values = compileList(list, at, compiling, depth + 1)
      return (scope) => values(scope)[index] ?? fail(`${at}: there is no value number ${index}`)
    }
    case 'Fn::FindInMap': {
      const [map, first, second] = argumentsOf(argument, 3).map((part) => compileText(part, at, compiling, depth + 1))
      if (map === undefined || first === undefined || second === undefined)
        return wrong(compiling, at, 'must be [map, key, key]')
      return (scope) => {
        const found = [map, first, second].reduce((inside: unknown, key) => own(inside, key(scope)), compiling.mappings)
        return typeof found === 'string' ? found : fail(`${at}: the mapping has no such value`)
      }
    }
    case 'Fn::Sub':
      return compileSub(argument, at, compiling, depth)
    default:
      return wrong(compiling, path, `${name} gives no text; Ref, Fn::Join, Fn::Select, Fn::FindInMap and Fn::Sub do`)
  }
}

/** A list of texts: written out, or `Fn::Split`. */
export function compileList(value: unknown, path: string, compiling: Compiling, depth = 0): Render<readonly string[]> {
  if (Array.isArray(value)) {
    const parts = value.map((part: unknown, index) => compileText(part, `${path}.${index}`, compiling, depth + 1))
    return (scope) => parts.map((part) => part(scope))
  }
  const call = callIn(value)
  if (call?.name !== 'Fn::Split' || depth > deepest)
    return wrong(compiling, path, 'must be a list of texts or Fn::Split')
  const [separator, text] = argumentsOf(call.argument, 2)
  if (typeof separator !== 'string' || separator === '')
    return wrong(compiling, path, 'Fn::Split must be [separator, text]')
  const whole = compileText(text, `${path}.Fn::Split`, compiling, depth + 1)
  return (scope) => whole(scope).split(separator)
}

/** Any JSON with expressions in it. */
export function compileJson(value: unknown, path: string, compiling: Compiling, depth = 0): Render<unknown> {
  if (typeof value !== 'object' || value === null) return () => value
  if (depth > deepest) return wrong(compiling, path, `must be at most ${deepest} levels deep`)
  if (callIn(value) !== undefined) return compileText(value, path, compiling, depth + 1)
  if (Array.isArray(value)) {
    const parts = value.map((part: unknown, index) => compileJson(part, `${path}.${index}`, compiling, depth + 1))
    return (scope) => parts.map((part) => part(scope))
  }
  const fields = Object.entries(value).map(
    ([key, part]: [string, unknown]) => [key, compileJson(part, `${path}.${key}`, compiling, depth + 1)] as const,
  )
  return (scope) => Object.fromEntries(fields.map(([key, part]) => [key, part(scope)]))
}

function compileReference(name: unknown, path: string, compiling: Compiling): Render<string> {
  if (typeof name !== 'string') return wrong(compiling, path, 'must be the name of a parameter')
  if (!compiling.parameters.has(name)) return wrong(compiling, path, `"${name}" is not declared in Parameters`)
  return (scope) => scope.parameter(name)
}

/** `Fn::Sub`: `${name}` is a variable of its own or a parameter, `${!name}` stands for `${name}` itself. */
function compileSub(argument: unknown, path: string, compiling: Compiling, depth: number): Render<string> {
  const [text, given = {}] = typeof argument === 'string' ? [argument] : argumentsOf(argument, 2)
  if (typeof text !== 'string' || typeof given !== 'object' || given === null)
    return wrong(compiling, path, 'must be text, or [text, {variables}]')
  const variables = new Map(
    Object.entries(given).map(([name, value]: [string, unknown]) => [
      name,
      compileText(value, `${path}.${name}`, compiling, depth + 1),
    ]),
  )
  const parts = text.split(/(?<variable>\$\{[^}]*\})/).map((part): Render<string> => {
    const name = /^\$\{(?<name>[^}]*)\}$/.exec(part)?.groups?.['name']
    if (name === undefined) return () => part
    if (name.startsWith('!')) return () => `\${${name.slice(1)}}`
    return variables.get(name) ?? compileReference(name, path, compiling)
  })
  return (scope) => parts.map((part) => part(scope)).join('')
}

/** An object that calls a function: one key, `Ref` or `Fn::…`. */
function callIn(value: unknown): { readonly name: string; readonly argument: unknown } | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const [entry, ...more] = Object.entries(value) as [string, unknown][]
  if (entry === undefined || more.length > 0) return undefined
  const [name, argument] = entry
  return name === 'Ref' || name.startsWith('Fn::') ? { name, argument } : undefined
}

function argumentsOf(value: unknown, count: number): readonly unknown[] {
  return Array.isArray(value) && value.length === count ? value : []
}

function own(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Readonly<Record<string, unknown>>)[key]
    : undefined
}

function wrong(compiling: Compiling, path: string, message: string): Render<never> {
  compiling.complain(path, message)
  return nothing
}

function fail(message: string): never {
  throw new TemplateFailure(message)
}
