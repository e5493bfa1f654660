import type { Problem } from '../core/problem.ts'
import { mostTogether } from '../core/publish-rate.ts'
import type { Limits } from './sluice-schema.ts'
import { type YamlFile, valueAt } from './yaml.ts'

/**
 * Limits that are written down and that another makes void: nobody would find out before a client is refused. What only has its
 * default gives way without a word.
 */
export function contradictions(file: YamlFile, limits: Limits): readonly Problem[] {
  const most = mostTogether(limits)
  return (
    [
      ['batchMessages', limits.batchMessages, most.messages, 'publishesPerSecond', 'messages'],
      ['batchBytes', limits.batchBytes, most.bytes, 'bytesPerSecond', 'bytes'],
    ] as const
  ).flatMap(([key, value, allowed, rate, unit]) => {
    const path = ['limits', key]
    if (valueAt(file.value, path) === undefined || value <= allowed) return []
    const message = `limits.${key}: one request may bring ${allowed} ${unit} at most at limits.${rate}: ${limits[rate]}; write no more, or raise ${rate}`
    return [file.problem(path, message)]
  })
}
