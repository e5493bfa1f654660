import * as fc from 'fast-check'
import { actions } from '../../src/policy/actions.ts'
import type { PolicyContext, PolicyRequest } from '../../src/policy/context.ts'
import { addresses, names, times, topics } from './policy-arbitraries.ts'
import { type OracleDocument, oracleText } from './policy-oracle.ts'

const changes = ['nothing', 'character', 'level', 'client', 'attribute', 'action', 'retain', 'head'] as const

/** One request of a walk, as numbers: what they come to depends on the documents and on the requests before. */
export interface Step {
  /** From a statement of the documents, or from the last request that was allowed. */
  readonly from: 'statement' | 'allowed'
  readonly change: (typeof changes)[number]
  readonly numbers: readonly number[]
}

export const anyStep: fc.Arbitrary<Step> = fc.record({
  from: fc.constantFrom('statement' as const, 'allowed' as const, 'allowed' as const),
  change: fc.constantFrom(...changes),
  numbers: fc.array(fc.nat({ max: 1 << 20 }), { minLength: 4, maxLength: 4 }),
})

interface Asked {
  readonly request: PolicyRequest
  readonly context: PolicyContext
}

/**
 * Asks as many requests as there are steps. Each is made to fit a statement, or is one that was allowed; then one thing of it is
 * changed: a character, a level, the client id, an attribute of the context, the action. `ask` says whether it is allowed.
 */
export function walk(
  documents: readonly OracleDocument[],
  context: PolicyContext,
  steps: readonly Step[],
  ask: (request: PolicyRequest, context: PolicyContext, afterAllow: boolean) => boolean,
): void {
  const allowed: Asked[] = []
  for (const { from, change, numbers } of steps) {
    const number = createNumbers(numbers)
    const before = from === 'allowed' ? allowed.at(-1 - (number() % 3)) : undefined
    const base = before ?? { request: fitting(documents, context, number), context }
    const asked = changed(base, change, number)
    if (ask(asked.request, asked.context, before !== undefined)) allowed.push(asked)
  }
}

/** The given numbers, and then ever others made from them: how many a step needs depends on the documents. */
function createNumbers(numbers: readonly number[]): () => number {
  let index = 0
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223 + (numbers[index] ?? 0)) >>> 0
    const given = numbers[index]
    index += 1
    return given ?? state >>> 8
  }
}

function pick<Item>(list: readonly Item[], number: number): Item {
  return list[number % list.length] as Item
}

/** A request that a statement was written for, as far as its action and resource go. */
function fitting(documents: readonly OracleDocument[], context: PolicyContext, number: () => number): PolicyRequest {
  const roles = (context.rolePolicies ?? []) as readonly OracleDocument[]
  const statement = pick(
    [...documents, ...roles].flatMap(({ Statement }) => Statement),
    number(),
  )
  const lists = [statement.Action ?? statement.NotAction, statement.Resource ?? statement.NotResource]
  const [action = '', resource = ''] = lists.map((list) => pick([list ?? []].flat(), number()))
  const able = actions.filter((one) => fits(action, one))
  const thing = number() % 4 === 0 ? { thingName: pick(names, number()) } : {}
  return {
    action: able.length === 0 ? action : pick(able, number()),
    resource: number() % 16 === 0 ? '*' : filled(resource, context, number),
    ...thing,
  }
}

function fits(pattern: string, action: string): boolean {
  const source = RegExp.escape(pattern).replace(/\\\*/g, '.*').replace(/\\\?/g, '.')
  return new RegExp(`^${source}$`, 'i').test(action)
}

/** The pattern with something in the place of its wildcards and variables. */
function filled(pattern: string, context: PolicyContext, number: () => number): string {
  if (/^\*+$/.test(pattern) || pattern === 'arn:aws:iot:*') return `arn:aws:iot:r:1:topic/${pick(names, number())}`
  const [, head = '', tail = ''] = /^((?:[^:]*:){5})(.*)$/.exec(pattern) ?? []
  const ours = head.replace(/^arn:aws:iot:[*?]:/, 'arn:aws:iot:r:').replace(/:\*:$/, ':1:')
  const text = tail.replace(/\$\{([^}]*)\}|[*?]/g, (piece, name: string | undefined) => {
    if (piece === '*') return pick(['', 'a', 'topic/a', '/', 'a/b/c'], number())
    if (piece === '?') return pick(['a', '/', '😀'], number())
    if (name !== undefined && /^[*?$]$/.test(name)) return name
    return oracleText(name ?? '', context) ?? pick(['a', '', 'b', piece], number())
  })
  return ours + text
}

function changed({ request, context }: Asked, change: Step['change'], number: () => number): Asked {
  const start = request.resource.startsWith('arn:') ? request.resource.split(':', 5).join(':').length + 1 : 0
  const head = request.resource.slice(0, start)
  const tail = request.resource.slice(start)
  const withTail = (text: string): Asked => ({ request: { ...request, resource: head + text }, context })
  switch (change) {
    case 'nothing':
      return { request, context }
    case 'character': {
      const characters = Array.from(tail)
      const at = number() % (characters.length + 1)
      const put = pick(['a', 'b', '/', '*', '?', '+', '#', '$', ':', '😀', ''], number())
      return withTail([...characters.slice(0, at), put, ...characters.slice(at + (number() % 2))].join(''))
    }
    case 'level': {
      const levels = tail.split('/')
      const at = number() % (levels.length + 1)
      const put = pick([[], [''], ['a'], ['b'], ['+'], ['#'], [context.clientId ?? 'a']], number())
      return withTail([...levels.slice(0, at), ...put, ...levels.slice(at + (number() % 2))].join('/'))
    }
    case 'client':
      return { request, context: { ...context, clientId: pick(names, number()) } }
    case 'attribute':
      return { request, context: changedContext(context, number) }
    case 'action':
      return { request: { ...request, action: pick([...actions, request.action.toUpperCase()], number()) }, context }
    case 'retain':
      return { request: { ...request, action: 'iot:Publish', retain: request.retain !== true }, context }
    case 'head':
      return {
        request: {
          ...request,
          resource: pick(['arn:aws:iot:r:2:', 'arn:aws:iot:s:1:', 'arn:aws:iot::1:', ''], number()) + tail,
        },
        context,
      }
  }
}

/** One thing of the context is another, or gone. */
function changedContext(context: PolicyContext, number: () => number): PolicyContext {
  const one = <Item>(...list: readonly Item[]): Item => pick(list, number())
  const text = () => pick(names, number())
  const changes: readonly (() => PolicyContext)[] = [
    () => ({ protocol: one('mqtt', 'mqtt-ws', 'http') }),
    () => ({ isAttached: one(true, false) }),
    () => ({ exclusiveThing: one(true, false) }),
    () => ({ thingName: text() }),
    () => ({ thingType: text() }),
    () => ({ thingAttributes: one({}, { site: text() }, { site: text(), floor: '5' }, { floor: '6' }) }),
    () => ({
      connectAttributes: one([], ['LastWill'], ['PersistentConnect'], ['PersistentConnect', 'LastWill'], ['New']),
    }),
    () => ({ lastWillTopic: pick(topics, number()) }),
    () => ({ sourceIp: pick(addresses, number()) }),
    () => ({ domainName: one('a', 'A', 'b') }),
    () => ({ currentTime: pick(times, number()) }),
    () => ({ certificate: { certificateId: text(), subject: { CommonName: one([], [text()], [text(), text()]) } } }),
    () => ({
      principal: { type: one('x509', 'cognito-authenticated', 'cognito-unauthenticated'), identityId: text() },
    }),
  ]
  if (number() % 4 > 0) return { ...context, ...pick(changes, number())() }
  const gone = pick(Object.keys(context), number())
  return Object.fromEntries(Object.entries(context).filter(([name]) => name !== gone))
}
