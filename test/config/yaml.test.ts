import { deepEqual, equal, ok } from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import { Document, Scalar, parseDocument, visit } from 'yaml'
import { type YamlFile, maxFileBytes, parseYaml } from '../../src/config/yaml.ts'

function parsed(text: string): YamlFile {
  const { file, problems } = parseYaml({ name: 'a.yaml', path: '/a.yaml', bytes: Buffer.from(text) })
  deepEqual(problems, [])
  if (file === undefined) throw new Error('not parsed')
  return file
}

function messagesOf(bytes: Uint8Array): string[] {
  return parseYaml({ name: 'a.yaml', path: '/a.yaml', bytes }).problems.map(
    ({ line, column, message }) => `${line}:${column} ${message}`,
  )
}

/** What stands in the text at a position. */
function from(text: string, { line, column }: { readonly line: number; readonly column: number }): string {
  return (text.split('\n')[line - 1] ?? '').slice(column - 1)
}

describe('parseYaml', () => {
  it('gives plain values, with aliases as copies', () => {
    const file = parsed('a: &x { b: [1, true, null, 2.5, text] }\nc: *x\n1: one\n')
    deepEqual(file.value, {
      a: { b: [1, true, null, 2.5, 'text'] },
      c: { b: [1, true, null, 2.5, 'text'] },
      '1': 'one',
    })
    const { a, c } = file.value as { a: unknown; c: unknown }
    ok(a !== c)
  })

  it('reads JSON, tabs and all', () => {
    deepEqual(parsed('{\n\t"a": ["\\u00e9\\/", 1e3]\n}').value, { a: ['é/', 1000] })
  })

  it('has no merge keys and takes names of the prototype for names', () => {
    deepEqual(parsed('<<: { a: 1 }\nconstructor: 2\ntoString: 3\n').value, {
      '<<': { a: 1 },
      constructor: 2,
      toString: 3,
    })
    deepEqual(messagesOf(Buffer.from('a: { "__proto__": { polluted: true } }')), [
      '1:6 the key "__proto__" is not allowed',
    ])
    equal(({} as Record<string, unknown>)['polluted'], undefined)
  })

  it('refuses what is too large, too deep, not text or not there', () => {
    deepEqual(messagesOf(Buffer.alloc(maxFileBytes + 1, 0x20)), ['1:1 the file has more than 4 MiB'])
    deepEqual(messagesOf(Buffer.from([0xff, 0xfe, 0x61, 0])), ['1:1 the file is not UTF-8 text'])
    deepEqual(messagesOf(Buffer.from(`${'['.repeat(70)}${']'.repeat(70)}`)), [
      '1:66 more than 64 mappings and lists inside one another',
    ])
    deepEqual(messagesOf(Buffer.from('a: &a [*a]')), ['1:8 the alias "*a" names no anchor that stands before it'])
    equal(messagesOf(Buffer.from('['.repeat(200_000))).length, 1)
  })

  it('survives a mapping of 100,000 keys in a moment, and finds the duplicate', () => {
    const lines = Array.from({ length: 100_000 }, (_, index) => `k${index}: 1`)
    deepEqual(messagesOf(Buffer.from(`${lines.join('\n')}\nk7: 2\n`)), [
      '100001:1 the key "k7" is here twice; the first is on line 8',
    ])
  })

  it('never throws, whatever the bytes are', () => {
    const tokens = fc.constantFrom(
      '- ',
      ': ',
      '? ',
      '&a ',
      '*a',
      '!t ',
      '|\n',
      '>-\n',
      '"',
      "'",
      '{',
      '}',
      '[',
      ']',
      ',',
      '\n',
      '  ',
      '\t',
      '#',
      '%',
      '---\n',
      '...',
      '${env:',
      'a',
      '\\',
      '\r',
      '\uFEFF',
      '@',
    )
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.string({ unit: 'binary', maxLength: 100 }).map((text) => Buffer.from(text)),
      fc.array(tokens, { maxLength: 60 }).map((parts) => Buffer.from(parts.join(''))),
    )
    fc.assert(
      fc.property(bytes, (input) => {
        const { file, problems } = parseYaml({ name: 'x', path: '/x', bytes: input })
        ok(file !== undefined || problems.length > 0)
        for (const { line, column } of problems) ok(line >= 1 && column >= 1)
        if (file === undefined) return
        ok(file.position(['nowhere', 0]).line >= 1)
        ok(file.positionInside([], 3).line >= 1)
      }),
      { numRuns: 1500 },
    )
  })
})

describe('positions', () => {
  const text =
    '# comment\nrules:\n  - name: one\n    "quoted key": { to: [a, "b"] }\n    empty:\n    after: &x\n      deep: 1\n  - *x\n'
  const file = parsed(text)
  const at = (...path: (string | number)[]) => from(text, file.position(path)).split('\n')[0]

  it('are those of values', () => {
    equal(at('rules', 0, 'name'), 'one')
    equal(at('rules', 0, 'quoted key', 'to', 1), '"b"] }')
    equal(at('rules', 0, 'after', 'deep'), '1')
  })
  it('of a missing value are those of what should hold it', () => {
    equal(at('rules', 0, 'nothing'), 'name: one')
    equal(at('rules', 0, 'quoted key', 'to', 7, 'x'), '[a, "b"] }')
  })
  it('of an empty value are those of its key', () => equal(at('rules', 0, 'empty'), 'empty:'))
  it('of keys', () => {
    equal(from(text, file.keyPosition(['rules', 0, 'quoted key'])), '"quoted key": { to: [a, "b"] }')
    equal(from(text, file.keyPosition(['rules', 0, 'missing'])), 'name: one')
  })
  it('behind an alias are those of its anchor', () => equal(at('rules', 1, 'deep'), '1'))
  it('count columns without a byte order mark', () => {
    deepEqual(parseYaml({ name: 'f', path: '/f', bytes: Buffer.from('\uFEFFa: b') }).file?.position(['a']), {
      file: 'f',
      line: 1,
      column: 4,
    })
  })
  it('count lines that end with CR LF', () => equal(parsed('a: 1\r\nb:\r\n  c: 2\r\n').position(['b', 'c']).line, 3))

  it('lead to every value of any document', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof({ maxDepth: 3 }, fc.string({ maxLength: 12 }), fc.integer(), fc.boolean(), tie('list'), tie('map')),
      list: fc.array(tie('any'), { maxLength: 4 }),
      map: fc.dictionary(
        fc.string({ maxLength: 8 }).filter((key) => key !== '__proto__'),
        tie('any'),
        { maxKeys: 4, noNullPrototype: true },
      ),
    })).any
    fc.assert(
      fc.property(value, (input) => {
        const written = new Document(input).toString()
        const { file: own, problems } = parseYaml({ name: 'f', path: '/f', bytes: Buffer.from(written) })
        deepEqual(problems, [])
        deepEqual(own?.value, input)
        // The library's own offsets are the oracle, found by a walk of its own.
        const document = parseDocument(written)
        visit(document, {
          Scalar(key, node, ancestors) {
            if (
              key === 'key' ||
              typeof node.value !== 'string' ||
              node.value === '' ||
              node.range === null ||
              node.range === undefined
            )
              return
            const path = pathTo(ancestors, node)
            const { line, column } = own?.position(path) ?? { line: 0, column: 0 }
            equal(offsetOf(written, line, column), node.range[0])
          },
        })
      }),
      { numRuns: 300 },
    )
  })
})

describe('positions inside text', () => {
  const cases: readonly [string, string][] = [
    ['plain', 'k: one two MARK three\n'],
    ['plain over several lines', 'k: one\n  two\n\n  MARK three\n'],
    ['single quoted', "k: 'it''s ''all'' MARK'\n"],
    ['double quoted', 'k: "tab\\t \\"x\\" \\u00e9 \\U0001F600 \\x41 MARK"\n'],
    ['double quoted over lines', 'k: "one \\\n   two\n\n   three \\n MARK"\n'],
    ['literal', 'k: |\n  one\n\n    two\n  x MARK\n'],
    ['literal with header', 'k: |2-  # comment with MARK\n    one\n  MARK\n'],
    ['folded', 'k: >-\n  one\n  two\n\n    kept MARK\n  three\n'],
    ['anchored', 'k: &a "x MARK"\n'],
    ['literal with CR LF', 'k: |\r\n  one\r\n  two MARK\r\n'],
    ['beyond the basic plane', 'k: "😀\\U0001F600😀 MARK"\n'],
  ]
  for (const [name, text] of cases) {
    it(name, () => {
      const file = parsed(text)
      const value = (file.value as { k: string }).k
      const position = file.positionInside(['k'], value.indexOf('MARK'))
      ok(from(text, position).startsWith('MARK'), `${JSON.stringify(text)} at ${position.line}:${position.column}`)
    })
  }

  it('at the end and on white space are next to what stands before', () => {
    const text = 'k: |\n  one  two\n'
    const file = parsed(text)
    deepEqual(file.positionInside(['k'], 3), { file: 'a.yaml', line: 2, column: 6 })
    deepEqual(file.positionInside(['k'], 4), { file: 'a.yaml', line: 2, column: 7 })
    deepEqual(file.positionInside(['k'], 99), { file: 'a.yaml', line: 2, column: 11 })
    deepEqual(file.positionInside(['k'], -5), { file: 'a.yaml', line: 2, column: 3 })
    deepEqual(file.positionInside(['nowhere'], 3), file.position(['nowhere']))
  })

  it('are right in every style, for any text', () => {
    const word = fc.string({
      unit: fc.constantFrom(...Array.from('abc"\'\\:#{}[]é😀|>-&*!%')),
      minLength: 1,
      maxLength: 6,
    })
    const gap = fc.constantFrom(' ', '  ', '\n', '\n\n', '\n  ', '\t')
    const any = fc.array(fc.tuple(word, gap), { minLength: 1, maxLength: 8 }).map((parts) => parts.flat().join(''))
    const style = fc.constantFrom(
      Scalar.PLAIN,
      Scalar.QUOTE_SINGLE,
      Scalar.QUOTE_DOUBLE,
      Scalar.BLOCK_LITERAL,
      Scalar.BLOCK_FOLDED,
    )
    fc.assert(
      fc.property(any, style, (text, type) => {
        const scalar = new Scalar(text)
        scalar.type = type
        const written = new Document({ outer: [{ k: scalar }] }).toString({ lineWidth: 0 }) // folding lines, its writer cuts escapes in two
        const file = parsed(written)
        const path = ['outer', 0, 'k']
        const read = (file.value as { outer: { k: string }[] }).outer[0]?.k ?? ''
        let offset = -1
        for (const character of read) {
          offset = read.indexOf(character, offset + 1)
          if (/\s/.test(character)) continue
          const found = from(written, file.positionInside(path, offset))
          ok(
            found.startsWith(character) || found.startsWith('\\'),
            `${JSON.stringify(character)} at ${offset} of ${JSON.stringify(written)} leads to ${JSON.stringify(found)}`,
          )
        }
      }),
      { numRuns: 500 },
    )
  })
})

function pathTo(ancestors: readonly unknown[], node: unknown): (string | number)[] {
  const path: (string | number)[] = []
  const chain = [...ancestors, node]
  for (const [index, part] of chain.entries()) {
    const next = chain[index + 1]
    if (typeof part !== 'object' || part === null) continue
    if ('items' in part && Array.isArray(part.items)) {
      const place = part.items.indexOf(next)
      if (typeof next === 'object' && next !== null && 'key' in next) path.push(String((next.key as Scalar).value))
      else path.push(place)
    }
  }
  return path
}

function offsetOf(text: string, line: number, column: number): number {
  return (
    text
      .split('\n')
      .slice(0, line - 1)
      .reduce((sum, part) => sum + part.length + 1, 0) +
    column -
    1
  )
}
