import type { Publish } from '../core/access.ts'
import type { Message } from '../core/message.ts'
import { addressOf } from '../core/topic.ts'
import type { FromPublish } from '../ingest/mqtt-bridge.ts'
import { Subject } from '../rules/subject.ts'
import { compileTemplate } from '../rules/template.ts'

/**
 * A template of a bridge (`thing`, `id`), ready to be asked. Text without `${ … }` is that text for every message. What only looks at the
 * message's topic or properties answers at once, what needs JSONata with a promise. Throws EXPRESSION_INVALID; what it gives
 * throws, or rejects, where the template fails on a message.
 */
export function fromMessage(text: string): FromPublish {
  const template = compileTemplate(text)
  if (template === undefined) return () => text
  return (publish) => {
    const rendered = template.render(new Subject(messageOf(publish)))
    return rendered instanceof Promise ? rendered.then(nameOf) : nameOf(rendered)
  }
}

function nameOf(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The message as it is before it is accepted: nobody has said yet who it is from. */
function messageOf({ topic, payload, qos, retain, properties }: Publish): Message {
  return {
    id: '',
    at: 0,
    ...addressOf(topic),
    payload,
    qos,
    retain,
    principal: '',
    ...(properties !== undefined && { properties }),
  }
}
