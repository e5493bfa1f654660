import assert from 'node:assert/strict'
import { it } from 'node:test'
import * as fc from 'fast-check'
import { complainAboutPath, joinPath } from '../../src/forwarders/http-path.ts'

const base = new URL('https://host.example/base?k=v')

it('joins a path below the url', () => {
  const cases: readonly [path: string, expected: string][] = [
    ['a', 'https://host.example/base/a?k=v'],
    ['/a/b', 'https://host.example/base/a/b?k=v'],
    ['d:17/x@y', 'https://host.example/base/d:17/x@y?k=v'],
    ['Raum 7/é', 'https://host.example/base/Raum%207/%C3%A9?k=v'],
    ['50%25', 'https://host.example/base/50%25?k=v'],
    ['...', 'https://host.example/base/...?k=v'],
    ['a;b=c/.well-known', 'https://host.example/base/a;b=c/.well-known?k=v'],
  ]
  for (const [path, expected] of cases) {
    assert.equal(complainAboutPath(path), undefined, path)
    assert.equal(joinPath(base, path).href, expected)
  }
})

it('refuses every way out', () => {
  const bad = [
    '',
    '..',
    '.',
    'a/../../admin',
    '%2e%2e/admin',
    '.%2E/admin',
    '%252e%252e/admin',
    '%25252e%25252e/admin',
    '..;/admin',
    '%2e%2e%3b/admin',
    'a%2f..%2fadmin',
    'a%252f..%252fadmin',
    'a\\..\\admin',
    'a%5c..%5cadmin',
    '//evil.example/x',
    '///x',
    'https://evil.example/x',
    'a//b',
    'a/',
    'a?x=1',
    'a#x',
    'a\r\nb',
    'a%0d%0ab',
    'a%00b',
    'a\tb',
    'a%zz',
    '100%',
    '\ud800',
    'x'.repeat(4_001),
  ]
  for (const path of bad) assert.notEqual(complainAboutPath(path), undefined, JSON.stringify(path))
})

it('never leaves host and path of the url, whatever is taken', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 6 }),
    fc.constantFrom('..', '.', '/', '\\', '%2e', '%2f', '%5c', '%25', ';', '@', ':', '?', '#', ' ', 'a'),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const path = pieces.join('')
      if (complainAboutPath(path) !== undefined) return
      const joined = joinPath(base, path)
      assert.equal(joined.origin, base.origin)
      assert.equal(joined.search, base.search)
      assert.ok(joined.pathname.startsWith('/base/') && joined.pathname.length > '/base/'.length)
      // As a server sees it that decodes before it resolves.
      const decoded = new URL(`https://host.example${decodeURIComponent(joined.pathname).replace(/[?#]/g, '_')}`)
      assert.ok(decoded.pathname.startsWith('/base/'), joined.href)
    }),
    { numRuns: 2_000 },
  )
})
