import assert from 'node:assert/strict'
import { it } from 'node:test'
import { refreshKeys, type TemporaryKeys } from '../../src/credentials/refreshed-keys.ts'
import { until } from '../support/cleanup.ts'
import { keepLines } from '../support/logs.ts'

const minute = 60_000

/** Keys that hold for an hour, numbered, on a clock that the test turns. */
function issuer() {
  const state = { now: 1_000_000, asked: 0, fail: undefined as Error | undefined }
  const log = keepLines()
  const keys = refreshKeys({
    obtain: async (): Promise<TemporaryKeys> => {
      state.asked += 1
      if (state.fail !== undefined) throw state.fail
      const accessKeyId = `k${state.asked}`
      return { accessKeyId, secretAccessKey: 's', sessionToken: 't', expiration: new Date(state.now + 60 * minute) }
    },
    log,
    now: () => state.now,
  })
  return { state, log, keys }
}

it('renews early without making anybody wait', async () => {
  const { state, keys } = issuer()
  assert.equal((await keys()).accessKeyId, 'k1')
  state.now += 56 * minute
  assert.equal((await keys()).accessKeyId, 'k1')
  await until('new keys', async () => (await keys()).accessKeyId === 'k2')
  assert.equal(state.asked, 2)
})

it('goes on with the old keys while a renewal fails, says so, and does not ask with every batch', async () => {
  const { state, log, keys } = issuer()
  await keys()
  state.now += 56 * minute
  state.fail = new Error('away')
  assert.equal((await keys()).accessKeyId, 'k1')
  await until('a warning', () => log.lines.some(({ level }) => level === 'warn'))
  assert.equal((await keys()).accessKeyId, 'k1')
  assert.equal(state.asked, 2)
  state.now += 30_000
  state.fail = undefined
  await keys()
  await until('new keys', async () => (await keys()).accessKeyId === 'k3')
})

it('fails when the old keys have ended, and recovers by itself', async () => {
  const { state, keys } = issuer()
  await keys()
  state.now += 60 * minute
  state.fail = new Error('away')
  await assert.rejects(keys(), /away/)
  state.fail = undefined
  assert.equal((await keys()).accessKeyId, 'k3')
})
