import { equal, match } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { temporaryFolder } from './support/cleanup.ts'
import { command } from './support/command.ts'
import { writeFiles } from './support/sluice.ts'

test('the rule of docs/events.md passes `check` and its own tests', async (context) => {
  const text = await readFile('docs/events.md', 'utf8')
  const rule = /^```yaml\n(?<rule># rules\/silent\.yaml\n[^]*?)^```$/m.exec(text)?.groups?.['rule'] ?? ''
  const folder = await temporaryFolder(context)
  await writeFiles(folder, { 'sluice.yaml': '{}\n', 'rules/silent.yaml': rule, 'workers/alerts.yaml': 'kind: log\n' })
  const checked = await command(context, folder, ['check'])
  equal(checked.code, 0, checked.stdout)
  const tested = await command(context, folder, ['test'])
  equal(tested.code, 0, tested.stdout)
  match(tested.stdout, /1 passed, 0 failed/)
})
