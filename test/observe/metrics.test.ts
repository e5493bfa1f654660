import { equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { metricTable } from '../../src/core/metrics.ts'
import { createMetrics } from '../../src/observe/metrics.ts'

test('what is counted and set stands on the page', async () => {
  const metrics = createMetrics()
  metrics.count('sluice_messages_accepted_total', { door: 'http' })
  metrics.count('sluice_messages_accepted_total', { door: 'http' }, 4)
  metrics.set('sluice_worker_blocked', { worker: 'alerts' }, 1)
  const page = await metrics.page()
  match(page, /^sluice_messages_accepted_total\{door="http"\} 5$/m)
  match(page, /^sluice_worker_blocked\{worker="alerts"\} 1$/m)
})

test('every metric of the table is served with its help', async () => {
  const page = await createMetrics().page()
  for (const name of Object.keys(metricTable)) equal(page.includes(`# HELP ${name} `), true, name)
})
