import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createRegistry } from '../../src/identity/registry.ts'
import { directoryOf } from '../support/directory.ts'

const names = (list: readonly { readonly name: string }[]) => list.map((one) => one.name)

const registry = createRegistry(
  directoryOf({
    things: [
      { name: 'd-1', groups: ['pumps', 'north'], policies: ['own'] },
      { name: 'loose' },
      { name: 'round', groups: ['a'] },
    ],
    groups: [
      { name: 'all', policies: ['base'] },
      { name: 'field', parent: 'all', policies: ['telemetry'] },
      { name: 'pumps', parent: 'field', policies: ['pump', 'telemetry'] },
      { name: 'north', parent: 'field' },
      { name: 'a', parent: 'b', policies: ['pump'] },
      { name: 'b', parent: 'a', policies: ['base'] },
    ],
    principals: [
      { name: 'p-1', thing: 'd-1', policies: ['mine', 'own'] },
      { name: 'free', policies: ['mine'] },
      { name: 'bare' },
    ],
    policies: ['base', 'telemetry', 'pump', 'own', 'mine'],
  }),
)

/** As a method gives a principal: with the thing of its entry. */
function policiesOf(name: string) {
  const thing = registry.principal(name)?.thing
  return registry.policiesOf({ name, method: 'token', ...(thing !== undefined && { thing }) })
}

describe('registry', () => {
  it('gives the groups of a thing with all their ancestors, each once', () => {
    assert.deepEqual(names(registry.groupsOfThing('d-1')), ['pumps', 'field', 'all', 'north'])
    assert.deepEqual(registry.groupsOfThing('loose'), [])
  })

  it('gives a thing its own policies and those of its groups and their ancestors', () => {
    assert.deepEqual(names(registry.policiesOfThing('d-1')), ['own', 'pump', 'telemetry', 'base'])
  })

  it('gives a principal its own policies and those of its thing, each once', () => {
    assert.deepEqual(names(policiesOf('p-1')), ['mine', 'own', 'pump', 'telemetry', 'base'])
    assert.deepEqual(names(policiesOf('free')), ['mine'])
    assert.deepEqual(policiesOf('bare'), [])
  })

  it('gives the same list each time, so that what is made from it can be kept', () => {
    assert.equal(policiesOf('p-1'), policiesOf('p-1'))
    assert.equal(registry.policiesOfThing('d-1'), registry.policiesOfThing('d-1'))
  })

  it('gives nothing for a name it does not know, also for one that every object has', () => {
    for (const name of ['nobody', '__proto__', 'constructor']) {
      assert.equal(registry.principal(name), undefined)
      assert.equal(registry.thing(name), undefined)
      assert.deepEqual(policiesOf(name), [])
      assert.deepEqual(registry.policiesOfThing(name), [])
      assert.deepEqual(registry.groupsOfThing(name), [])
    }
  })

  it("ends on groups that are each other's parent", () => {
    assert.deepEqual(names(registry.policiesOfThing('round')), ['pump', 'base'])
  })

  it('refuses a directory in which a reference leads nowhere', () => {
    const message = /there is none of that name/
    assert.throws(() => createRegistry(directoryOf({ principals: [{ name: 'p', policies: ['gone'] }] })), message)
    assert.throws(() => createRegistry(directoryOf({ principals: [{ name: 'p', thing: 'gone' }] })), message)
    assert.throws(() => createRegistry(directoryOf({ things: [{ name: 't', groups: ['gone'] }] })), message)
  })
})
