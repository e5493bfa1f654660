import { ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { actions } from '../../src/policy/actions.ts'
import { operatorNames } from '../../src/policy/operators.ts'
import { variableNames } from '../../src/policy/variables.ts'

test('docs/policies.md names every action, operator and variable', () => {
  const page = readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8')
  for (const name of [...actions, ...operatorNames, ...variableNames]) {
    // The page has one row for all attributes of a certificate's names.
    const shown = name.replace(/^iot:Certificate\.(?:Subject|Issuer)\./, '')
    ok(page.includes(`\`${shown}\``), `${name} is missing`)
  }
})
