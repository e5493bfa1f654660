import assert from 'node:assert/strict'
import { it } from 'node:test'
import { delivered, type Outcome } from '../../src/core/outcome.ts'
import { blocked, rejected, unanswered } from '../../src/forwarders/outcomes.ts'
import { sendRequests } from '../../src/forwarders/requests.ts'

/** Answers by the items that are bad, away or blocked; keeps the requests. */
function farSide(answerOf: (index: number) => Outcome) {
  const requests: (readonly number[])[] = []
  const request = async (indexes: readonly number[]) => {
    requests.push(indexes)
    const worst = indexes.map(answerOf).find(({ kind }) => kind !== 'delivered')
    return indexes.map(() => worst ?? delivered)
  }
  return { requests, request }
}

const shapes = (outcomes: readonly Outcome[]) => outcomes.map(({ kind }) => kind[0]).join('')

it('puts each outcome in its place, those known beforehand too', async () => {
  const { request } = farSide(() => delivered)
  const settled = new Map([[1, rejected('no')]])
  const outcomes = await sendRequests({
    count: 4,
    groups: [[3, 0], [2]],
    settled,
    parallel: 2,
    giveUpAfter: 2,
    request,
  })
  assert.equal(shapes(outcomes), 'drdd')
})

it('sends no refused request again: which of its messages is to blame is for delivery to find out', async () => {
  const { request, requests } = farSide(() => rejected('bad'))
  const groups = [
    [0, 1, 2],
    [3, 4],
  ]
  assert.equal(shapes(await sendRequests({ count: 5, groups, parallel: 1, giveUpAfter: 1, request })), 'rrrrr')
  assert.deepEqual(requests, groups)
})

it('sends nothing more once it is blocked, and says so for the rest', async () => {
  const { request, requests } = farSide((index) => (index === 1 ? blocked('denied') : delivered))
  const outcomes = await sendRequests({ count: 4, groups: [[0], [1], [2], [3]], parallel: 1, giveUpAfter: 9, request })
  assert.equal(shapes(outcomes), 'dbbb')
  assert.equal(requests.length, 2)
})

it('gives up after so many in a row without an answer; their wish is not one about the rest', async () => {
  const { request, requests } = farSide((index) => (index === 1 ? delivered : unanswered('away', 7)))
  const groups = [[0], [1], [2], [3], [4], [5]]
  const outcomes = await sendRequests({ count: 6, groups, parallel: 1, giveUpAfter: 3, request })
  assert.equal(shapes(outcomes), 'rdrrrr')
  assert.equal(requests.length, 5)
  const last = outcomes[5]
  assert.ok(last?.kind === 'retry' && !last.answered && last.afterMs === undefined)
  assert.match(last.reason, /^not sent, after others got no answer: away$/)
})

it('has an outcome for an item that nobody spoke of', async () => {
  const { request } = farSide(() => delivered)
  const outcomes = await sendRequests({ count: 2, groups: [[0]], parallel: 1, giveUpAfter: 1, request })
  assert.equal(shapes(outcomes), 'dr')
})

it('says what has arrived while the rest is under way', async () => {
  const arrived: number[] = []
  const request = async (indexes: readonly number[]) => {
    if (indexes[0] === 2) assert.deepEqual(arrived, [0])
    return indexes.map((index) => (index === 1 ? unanswered('busy') : delivered))
  }
  const groups = [[0, 1], [2]]
  const options = { count: 3, groups, parallel: 1, giveUpAfter: 1, request }
  const outcomes = await sendRequests({ ...options, arrived: (index) => void arrived.push(index) })
  assert.equal(shapes(outcomes), 'drd', 'one entry without an answer is no far side that is away')
  assert.deepEqual(arrived, [0, 2])
})
