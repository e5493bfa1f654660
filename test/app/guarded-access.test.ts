import { deepEqual, equal, rejects } from 'node:assert/strict'
import { test } from 'node:test'
import { guardedAccess } from '../../src/app/guarded-access.ts'
import type { Presented, Verdict } from '../../src/core/access.ts'
import { silent } from '../../src/core/log.ts'
import { createFloodGuard } from '../../src/identity/flood-guard.ts'
import { fakeAccess } from '../support/doors.ts'

const shown = (password: string): Presented => ({
  protocol: 'mqtt',
  sourceIp: '192.0.2.1',
  clientId: 'd-1',
  username: 'd-1',
  password: Buffer.from(password),
})

function open(verdict?: () => Promise<Verdict>) {
  const access = fakeAccess()
  if (verdict !== undefined) access.authenticate = verdict
  const guard = createFloodGuard({ limits: { perAddress: 3, perPrincipal: 100 }, log: silent, now: () => 0 })
  let asked = 0
  const authenticate = access.authenticate.bind(access)
  access.authenticate = (presented) => {
    asked += 1
    return authenticate(presented)
  }
  return { access: guardedAccess(() => access, guard)(), asked: () => asked }
}

test('who has failed too often is told when to come back, and nothing of the attempt is looked at', async () => {
  const { access, asked } = open()
  for (let count = 0; count < 3; count += 1) equal((await access.authenticate(shown('wrong'))).kind, 'refused')
  const verdict = await access.authenticate(shown('d-1-secret'))
  deepEqual([verdict.kind, asked()], ['refused', 3])
  equal(verdict.kind === 'refused' && verdict.afterMs !== undefined && verdict.afterMs > 0, true)
  equal(
    (await access.authenticate({ ...shown('d-2-secret'), sourceIp: '192.0.2.2', username: 'd-2' })).kind,
    'principal',
  )
})

test('to show nothing, to be told "not now", and a body that breaks off are no failures', async () => {
  const absent = open(async () => ({ kind: 'absent' }))
  for (let count = 0; count < 10; count += 1) await absent.access.authenticate(shown('x'))
  equal(absent.asked(), 10)
  const busy = open(async () => ({ kind: 'refused', reason: 'busy', afterMs: 100 }))
  for (let count = 0; count < 10; count += 1) await busy.access.authenticate(shown('x'))
  equal(busy.asked(), 10)

  const broken = { ...shown('x'), http: { method: 'POST', path: '/', query: '', headers: {} } }
  const body = () => Promise.reject(new Error('it broke off'))
  const access = fakeAccess()
  access.authenticate = async ({ http }) => {
    await rejects(http?.body?.() ?? Promise.resolve(), /it broke off/)
    return { kind: 'refused', reason: 'no' }
  }
  const guard = createFloodGuard({ limits: { perAddress: 3 }, log: silent, now: () => 0 })
  const guarded = guardedAccess(() => access, guard)()
  for (let count = 0; count < 10; count += 1) {
    const verdict = await guarded.authenticate({ ...broken, http: { ...broken.http, body } })
    equal(verdict.kind === 'refused' && verdict.afterMs, undefined)
  }
})
