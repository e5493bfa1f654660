import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'
import { Lifecycle } from '../../src/app/lifecycle.ts'
import { silent } from '../../src/core/log.ts'

test('parts stop in reverse, once, and a failing one does not keep the others', async () => {
  const stopped: string[] = []
  const lifecycle = new Lifecycle(silent)
  lifecycle.add('queue', () => void stopped.push('queue'))
  lifecycle.add('broken', () => Promise.reject(new Error('no')))
  lifecycle.add('door', async () => void stopped.push('door'))
  await Promise.all([lifecycle.stop(1_000), lifecycle.stop(1_000)])
  deepEqual(stopped, ['door', 'queue'])
})
