import { z } from 'zod'
import { filePath } from '../core/file-path.ts'
import { defineForwarder } from '../core/forwarder.ts'
import { delivered, type Outcome } from '../core/outcome.ts'
import { bytes } from '../core/units.ts'
import { jsonLine } from './json-line.ts'
import { LineFile, NotOursError } from './line-file.ts'
import { blocked, unanswered } from './outcomes.ts'
import { saidBy } from './text.ts'

const lineBreak = Buffer.from('\n')

/** What a person has to put right: rights, a path that cannot be, a file system that is not for writing. */
const needsSomeone = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTDIR',
  'EISDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ENXIO',
  'ENODEV',
])

/** The kind `file`: NDJSON on this machine's disk. */
export const file = defineForwarder({
  kind: 'file',
  summary: 'Appends each message to a file, one line of JSON each, synced to disk once a batch.',
  credentials: [],
  settings: z.strictObject({
    path: filePath(),
    /** Absent: the file grows for ever, and nothing is ever deleted. */
    rotate: z
      .strictObject({
        /** Large enough to be worth moving, small enough for an editor. */
        bytes: bytes('64MiB').refine((size) => size > 0, 'must be more than 0'),
        /** Moved files that are kept; the oldest is deleted when there would be more. */
        keep: z.int().min(1).max(10_000).default(10),
      })
      .exactOptional(),
  }),
  with: z.strictObject({}),
  // One sync a batch: the larger, the cheaper. As large as an envelope.
  limits: { messages: 256, bytes: 1_048_576 },
  async open({ path, rotate }, { log }) {
    const lines = new LineFile({
      path,
      ...(rotate !== undefined && { rotate }),
      onTorn: (bytes) => log.warn({ path, bytes }, 'a torn last line was cut off; its messages come again'),
    })
    let last: Promise<unknown> = Promise.resolve()

    /** Sends come side by side, writes must not. */
    const inTurn = <Result>(act: () => Promise<Result>): Promise<Result> => {
      const turn = last.then(act)
      last = turn.catch(() => {})
      return turn
    }

    await lines.ready()
    return {
      async send(batch, signal) {
        const outcome = await inTurn(async (): Promise<Outcome> => {
          if (batch.length === 0) return delivered
          if (signal.aborted) return unanswered('the worker is stopping')
          try {
            await lines.append(Buffer.concat(batch.flatMap((item) => [jsonLine(item), lineBreak])))
            return delivered
          } catch (error) {
            return outcomeOf(error)
          }
        })
        return batch.map(() => outcome)
      },
      check: () => inTurn(() => lines.ready()),
      close: () => inTurn(() => lines.close()),
    }
  },
})

function outcomeOf(error: unknown): Outcome {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (error instanceof NotOursError || needsSomeone.has(code)) return blocked(saidBy(error))
  // ENOSPC, EDQUOT, EIO and what else passes: space is made, a volume comes back.
  return unanswered(saidBy(error))
}
