import type { Publish } from '../core/access.ts'
import { SluiceError } from '../core/errors.ts'
import type { Message } from '../core/message.ts'
import { addressOf } from '../core/topic.ts'
import { Subject } from '../rules/subject.ts'
import { compileTemplate } from '../rules/template.ts'

/**
 * A template of a bridge (`thing`, `id`), ready to be asked. `quick` looks at the message's topic or properties only and
 * answers at once; `evaluated` needs JSONata.
 */
export type FromMessage =
  | { readonly kind: 'quick'; readonly from: (publish: Publish) => string | undefined }
  | { readonly kind: 'evaluated'; readonly from: (publish: Publish) => Promise<string | undefined> }

/** Compiles a template of a bridge. Text without `${ … }` is that text for every message. Throws EXPRESSION_INVALID. */
export function fromMessage(text: string): FromMessage {
  const template = compileTemplate(text)
  if (template === undefined) return { kind: 'quick', from: () => text }
  const render = (publish: Publish) => template.render(new Subject(messageOf(publish)))
  // Whether jsonata is needed is a property of the template, so any message tells.
  const sample = render({ topic: 'a/b/c', payload: Buffer.alloc(0), qos: 0, retain: false })
  if (!(sample instanceof Promise)) return { kind: 'quick', from: (publish) => nameOf(render(publish)) }
  sample.catch(() => {})
  return {
    kind: 'evaluated',
    // A message that the template fails on doesn't say who it is from.
    from: async (publish) => {
      try {
        return nameOf(await render(publish))
      } catch (error) {
        if (error instanceof SluiceError) return undefined
        throw error
      }
    },
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
