import { deepEqual, equal, match } from 'node:assert/strict'
import { test } from 'node:test'
import { Redactor } from '../../src/core/redactor.ts'
import { createLog } from '../../src/observe/log.ts'

function capture(format: 'json' | 'text', redactor = new Redactor()) {
  const lines: string[] = []
  return { lines, log: createLog({ level: 'info', format, redactor, write: (line) => void lines.push(line) }) }
}

test('JSON lines carry time, level, message and facts', () => {
  const { lines, log } = capture('json')
  log.with({ worker: 'alerts' }).warn({ count: 2 }, 'slow')
  const { time, ...rest } = JSON.parse(lines[0] ?? '') as Record<string, unknown>
  match(String(time), /^\d{4}-\d\d-\d\dT/)
  deepEqual(rest, { level: 'warn', worker: 'alerts', count: 2, msg: 'slow' })
})

test('a level below the wanted one writes nothing', () => {
  const { lines, log } = capture('json')
  log.debug({}, 'detail')
  deepEqual(lines, [])
})

test('text lines escape what could drive a terminal', () => {
  const { lines, log } = capture('text')
  log.info({ topic: 'a/b', name: '\u001B[2J' }, 'seen')
  match(lines[0] ?? '', /^\d\d:\d\d:\d\d\.\d{3} info {2}seen topic=a\/b name="\\u001b\[2J"\n$/)
})

for (const format of ['json', 'text'] as const) {
  test(`a secret that a library put into an error does not reach a ${format} line`, () => {
    const redactor = new Redactor()
    redactor.add('hunter2-secret')
    const { lines, log } = capture(format, redactor)
    log.error({ error: 'refused: Bearer hunter2-secret' }, 'hunter2-secret')
    equal(lines.join('').includes('hunter2'), false)
    match(lines.join(''), /\[redacted\]/)
  })
}

for (const format of ['json', 'text'] as const) {
  test(`a secret that reads as a fact’s name or as a number spoils no ${format} line`, () => {
    const redactor = new Redactor()
    for (const secret of ['worker', '345678', 'line one\nline "two"']) redactor.add(secret)
    const { lines, log } = capture(format, redactor)
    log.info({ worker: 'alerts', bytes: 12_345_678, why: { worker: 'line one\nline "two"' } }, 'sent')
    if (format === 'text')
      match(lines[0] ?? '', /sent worker=alerts bytes="12\[redacted\]" why=\{"\[redacted\]":"\[redacted\]"\}\n$/)
    else {
      const { time: _, ...rest } = JSON.parse(lines[0] ?? '') as Record<string, unknown>
      deepEqual(rest, {
        level: 'info',
        worker: 'alerts',
        bytes: '12[redacted]',
        why: { '[redacted]': '[redacted]' },
        msg: 'sent',
      })
    }
  })
}
