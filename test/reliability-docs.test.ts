import { deepEqual, ok } from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

test('every line of what is promised names tests that are there', () => {
  const text = readFileSync(new URL('../docs/reliability.md', import.meta.url), 'utf8')
  const lines = text.split('\n').filter((line) => /^\| (?!\*\*|---|what happens)/.test(line))
  ok(lines.length > 30)
  const missing = lines.flatMap((line) => {
    const names = [...(line.split(' | ').at(-1) ?? '').matchAll(/`([\w./-]+)`/g)].map(([, name = '']) => name)
    if (names.length === 0) return [`no test: ${line}`]
    return names.filter((name) => !existsSync(new URL(`${name}.test.ts`, import.meta.url)))
  })
  deepEqual(missing, [])
})
