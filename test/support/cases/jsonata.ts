import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { messageOf } from '../../../src/core/errors.ts'
import { type Evaluate, evaluateAsRules } from './jsonata-evaluate.ts'
import type { CaseResult, Suite } from './suite.ts'

const jsonataCase = z.looseObject({
  expr: z.string().optional(),
  'expr-file': z.string().optional(),
  data: z.unknown().optional(),
  dataset: z.string().nullish(),
  bindings: z.record(z.string(), z.unknown()).optional(),
  timelimit: z.number().optional(),
  depth: z.number().optional(),
  result: z.unknown().optional(),
  unordered: z.boolean().optional(),
  undefinedResult: z.boolean().optional(),
  code: z.string().optional(),
  error: z.looseObject({ code: z.string() }).optional(),
})

type JsonataCase = z.output<typeof jsonataCase>

/** jsonata's own test suite in its own layout: `jsonata/groups/<group>/*.json` and `jsonata/datasets/*.json`. */
export function createJsonataSuite(evaluate: Evaluate = evaluateAsRules): Suite {
  return {
    name: 'jsonata',
    async run(folder) {
      const root = join(folder, 'jsonata')
      if (!existsSync(join(root, 'groups'))) return undefined
      const results: CaseResult[] = []
      for (const file of globSync('groups/*/*.json', { cwd: root }).toSorted()) {
        const content: unknown = JSON.parse(readFileSync(join(root, file), 'utf8'))
        const list = Array.isArray(content) ? content : [content]
        for (const [index, item] of list.entries()) {
          const id = file.slice('groups/'.length, -'.json'.length) + (list.length > 1 ? `#${index}` : '')
          results.push(await runCase(id, root, file, jsonataCase.parse(item), evaluate))
        }
      }
      return results
    },
  }
}

async function runCase(
  id: string,
  root: string,
  file: string,
  given: JsonataCase,
  evaluate: Evaluate,
): Promise<CaseResult> {
  const expression = given.expr ?? readFileSync(join(root, dirname(file), given['expr-file'] ?? ''), 'utf8')
  const data = typeof given.dataset === 'string' ? readDataset(root, given.dataset) : given.data
  const expected = expectationOf(given)
  let got: Outcome
  try {
    got = { result: plain(await evaluate(expression, data, given.bindings ?? {}, given)) }
  } catch (error) {
    const unsupported = reasonUnsupported(error)
    if (unsupported !== undefined) return { kind: 'skipped', id, reason: unsupported }
    got = { code: codeOf(error), message: messageOf(error) }
  }
  if (agree(expected, got, given.unordered === true)) return { kind: 'passed', id }
  return { kind: 'failed', id, expected: describe(expected), got: describe(got) }
}

type Outcome = { readonly result: unknown } | { readonly code: string; readonly message?: string }

function expectationOf({ result, undefinedResult, code, error }: JsonataCase): Outcome {
  const expectedCode = code ?? error?.code
  if (expectedCode !== undefined) return { code: expectedCode }
  return { result: undefinedResult === true ? undefined : result }
}

function agree(expected: Outcome, got: Outcome, unordered: boolean): boolean {
  if ('code' in expected || 'code' in got) return 'code' in expected && 'code' in got && expected.code === got.code
  if (!unordered) return isDeepStrictEqual(got.result, expected.result)
  return isDeepStrictEqual(sorted(got.result), sorted(expected.result))
}

function sorted(value: unknown): unknown {
  return Array.isArray(value) ? value.map((item) => JSON.stringify(item)).toSorted() : value
}

/** The value as JSON has it: jsonata's sequences carry more than their items, and objects may be without a prototype. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return Array.from(value, plain)
  if (typeof value === 'function') return undefined
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

/** jsonata throws objects with a `code`; ours keep it as the `reason`. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'none'
  const { reason, code } = error as { readonly reason?: unknown; readonly code?: unknown }
  return typeof reason === 'string' ? reason : typeof code === 'string' ? code : 'none'
}

function reasonUnsupported(error: unknown): string | undefined {
  return codeOf(error) === 'REGEX_UNSUPPORTED' ? messageOf(error) : undefined
}

function describe(outcome: Outcome): string {
  if ('code' in outcome) return `error ${outcome.code}${outcome.message === undefined ? '' : ` (${outcome.message})`}`
  return outcome.result === undefined ? 'undefined' : JSON.stringify(outcome.result)
}

function readDataset(root: string, name: string): unknown {
  return JSON.parse(readFileSync(join(root, 'datasets', `${name}.json`), 'utf8'))
}
