import { deepEqual, equal, rejects, throws } from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { compileOptions } from '../../src/rules/options.ts'
import { Subject } from '../../src/rules/subject.ts'
import { compileTemplate } from '../../src/rules/template.ts'
import { message } from '../support/rules.ts'

const subject = new Subject(message('{"n":7,"s":"x}y","o":{"a":1},"b":true,"nil":null,"id":9007199254740993}'))
const render = async (text: string) => compileTemplate(text)?.render(subject)

describe('a template', () => {
  for (const [text, expected] of [
    ['${ n }', 7],
    ['${n}', 7],
    ['${ s }', 'x}y'],
    ['${ o }', { a: 1 }],
    ['${ b }', true],
    ['${ nil }', null],
    ['${ missing }', undefined],
    ['${ id }', '9007199254740993'],
    ['${ {"id": id} }', { id: '9007199254740993' }],
    ['${ $topic(2) }', 'b'],
    ['n-${ n }', 'n-7'],
    ['${ n }${ n }', '77'],
    ['${ o }/${ b }/${ nil }/${ missing }/${ s }', '{"a":1}/true/null//x}y'],
    ['id ${ id }', 'id 9007199254740993'],
    ['${ {"a": "}"} }', { a: '}' }],
    ['${ {"a": {"b": n}} }!', '{"a":{"b":7}}!'],
    ['${ "a}b" & \'}\' }', 'a}b}'],
    ['${ $replace(s, /[\\}]/, "{") }', 'x{y'],
    ['${ /* } */ n }', 7],
    ['${ `s` }', 'x}y'],
    ['${ "${" }', '${'],
    ['a } b ${ n } c } d', 'a } b 7 c } d'],
    ['$${ n }', '$7'],
    ['$${ $topic() }$', '$a/b$'],
  ] as const) {
    test(text, async () => deepEqual(await render(text), expected))
  }

  test('there is none in a text without one', () => equal(compileTemplate('$aws/things/{x}'), undefined))
  test('that only asks about the message is answered at once', () => {
    equal(compileTemplate('${ $topic(2) }')?.direct, true)
    equal(compileTemplate('x-${ $topic(2) }-${ $qos() }')?.render(subject), 'x-b-1')
    equal(compileTemplate('${ n }')?.direct, false)
  })

  for (const [text, offset, said] of [
    ['${', 0, /no closing brace/],
    ['ab ${ n', 3, /no closing brace/],
    ['ab ${}', 3, /is empty/],
    ['ab ${ }', 3, /is empty/],
    ['ab ${ $topic( }', 13, /Expected "\)"/],
    ['${ n } and ${ n + }', 17, /Unexpected end/],
    ['${ $eval(s) }', 3, /\$eval/],
    ['x ${env:SECRET}', 2, /"\${env:…}" may not stand in a rule/],
    ['${file:/etc/passwd}', 0, /"\${file:…}" may not stand in a rule/],
  ] as const) {
    test(`${text} is refused`, () => {
      throws(
        () => compileTemplate(text),
        (error: { code: string; message: string; offset: number }) => {
          equal(error.code, 'EXPRESSION_INVALID')
          equal(error.offset, offset)
          return said.test(error.message)
        },
      )
    })
  }

  for (const text of ['${ n + s }', 'x ${ n + s }', '${ $uppercase }', 'x ${ $uppercase }', '${ 1/0 }']) {
    test(`${text} fails on the message`, () => rejects(render(text), { code: 'EXPRESSION_FAILED' }))
  }

  test('any text compiles or is refused with an offset inside it', () => {
    const piece = fc.constantFrom(
      '${',
      '}',
      '{',
      '"',
      "'",
      'n',
      ' ',
      '$',
      '/',
      '$topic(1)',
      '`',
      'a',
      '[',
      ']',
      ')',
      '+',
      '*/',
      '/*',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('')
        try {
          compileTemplate(text)
        } catch (error) {
          const { code, offset } = error as { code?: string; offset?: number }
          equal(code, 'EXPRESSION_INVALID')
          equal(offset !== undefined && offset >= 0 && offset <= text.length, true)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('options', () => {
  const complain = (path: string, error: unknown) => {
    throw new Error(path, { cause: error })
  }
  const rendered = async (options: Readonly<Record<string, unknown>>) =>
    compileOptions(options, complain).render(subject)

  test('are rendered at any depth, and what is undefined is left out', async () => {
    const options = {
      a: '${ n }',
      b: { c: ['x', '${ missing }', '${ $topic(1) }', 'n ${ missing }'], d: '${ missing }' },
      e: 5,
      f: null,
    }
    deepEqual(await rendered(options), { a: 7, b: { c: ['x', 'a', 'n '] }, e: 5, f: null })
  })
  test('without templates are the same object for each message', () => {
    const options = { a: 1 }
    const compiled = compileOptions(options, complain)
    equal(compiled.render(subject), options)
    equal(compileOptions(undefined, complain).render(subject), undefined)
  })
  test('may have any name', async () => {
    const options = JSON.parse('{"__proto__":"${ n }","constructor":{"a.b":"${ $topic(1) }"}}') as Record<
      string,
      unknown
    >
    const result = await rendered(options)
    equal(JSON.stringify(result), '{"__proto__":7,"constructor":{"a.b":"a"}}')
    equal(Object.getPrototypeOf(result), Object.prototype)
  })
  test('need no promise where nothing needs jsonata', () => {
    deepEqual(compileOptions({ g: '${ $topic(2) }' }, complain).render(subject), { g: 'b' })
  })
})
