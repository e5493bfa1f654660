import jsonata from 'jsonata'
import type { Node } from './ast.ts'
import type { RegexEngine } from './regex.ts'

/** What jsonata hands a function as `this`. */
export interface Focus {
  readonly environment: { lookup(name: string): unknown }
  /** jsonata's arrays that unwrap when they hold one item. */
  createSequence(...items: unknown[]): unknown[]
}

/** jsonata's own options; it reads `timeout` again at every step. */
export interface JsonataOptions {
  readonly timeout: number
  readonly stack: number
  readonly sequence: number
  readonly RegexEngine: RegexEngine
}

// oxlint-disable-next-line typescript/no-explicit-any -- arguments come as expressions give them; the signature checks them
export type Implementation = (this: Focus, ...args: any[]) => unknown

export interface JsonataExpression {
  evaluate(input: unknown, bindings?: Readonly<Record<string, unknown>>): Promise<unknown>
  registerFunction(name: string, implementation: Implementation, signature?: string): void
  ast(): Node
}

/** Parses an expression; throws plain objects. jsonata's own types want RegExp itself for an engine, and call it less. */
export function parse(text: string, options?: JsonataOptions): JsonataExpression {
  return jsonata(text, options as unknown as jsonata.JsonataOptions) as unknown as JsonataExpression
}

/** A function of jsonata as its expressions see it: what `$name` evaluates to. */
export interface Definition {
  readonly implementation: Implementation
  readonly signature?: { readonly definition: string }
}

/** The functions of jsonata 2.2; it doesn't export their names. */
const names = [
  'sum count max min average string substring substringBefore substringAfter lowercase uppercase length trim pad match',
  'contains replace split join formatNumber formatBase formatInteger parseInteger number floor ceil round abs sqrt power',
  'random boolean not map zip filter single reduce sift keys lookup append exists spread merge reverse each error assert',
  'type sort shuffle distinct base64encode base64decode encodeUrlComponent encodeUrl decodeUrlComponent decodeUrl eval',
  'toMillis fromMillis clone now millis',
].flatMap((line) => line.split(' '))

/** Every function that jsonata brings, by name. */
export const builtins: ReadonlyMap<string, Definition> = await read()

async function read(): Promise<Map<string, Definition>> {
  const found = new Map<string, Definition>()
  for (const name of names) found.set(name, (await parse(`$${name}`).evaluate(undefined)) as Definition)
  return found
}

/** Whether an object is what jsonata takes for a function. */
export function isFunction(value: object): boolean {
  return '_jsonata_lambda' in value || '_jsonata_function' in value
}
