import type { Message } from '../../src/core/message.ts'
import type { RuleDefinition, RuleOutcome, RuleTest } from '../../src/core/rule.ts'

const position = { file: 'rules/r.yaml', line: 1, column: 1 }

/** A rule named `r` over `#` that sends to `w`, unless told otherwise. */
export function rule(parts: Partial<RuleDefinition> = {}): RuleDefinition {
  return { name: 'r', position, from: ['#'], to: [{ worker: 'w' }], onError: [], tests: [], ...parts }
}

/** A test of a rule. */
export function ruleTest(given: RuleTest['given'], expect: RuleTest['expect'], name = 't'): RuleTest {
  return { name, position, given, expect }
}

/** A message on `a/b` from the principal `p`; the payload may be text, bytes, or a value to be sent as JSON. */
export function message(payload: unknown = {}, parts: Partial<Message> = {}): Message {
  const bytes = Buffer.isBuffer(payload)
    ? payload
    : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
  return {
    id: 'm-1',
    at: 1_700_000_000_123,
    topic: 'a/b',
    payload: bytes,
    qos: 1,
    retain: false,
    principal: 'p',
    ...parts,
  }
}

/** What goes out, as text; of the first delivery. */
export function outOf(outcome: RuleOutcome | undefined): string | undefined {
  return outcome?.kind === 'deliveries' ? outcome.deliveries[0]?.out?.toString('utf8') : undefined
}
