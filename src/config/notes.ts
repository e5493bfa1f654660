import type { Problem } from '../core/problem.ts'
import type { SluiceFile } from './sluice-file.ts'
import type { BridgeSettings } from './sluice-schema.ts'

/** What is taken as it stands, and may not be what was meant: nothing refuses to start for it, `check` tells it. In the order of lines. */
export function notesOn({ settings, file }: SluiceFile): readonly Problem[] {
  if (settings === undefined || file === undefined) return []
  return settings.bridges
    .flatMap((bridge, index) =>
      notesOnBridge(bridge).map(({ key, message }) => {
        const path = ['bridges', index, key]
        return file.problem(path, `${path.join('.')}: ${message}`)
      }),
    )
    .toSorted((one, other) => one.line - other.line)
}

function notesOnBridge({ name, share, id, thing }: BridgeSettings): readonly { key: string; message: string }[] {
  const notes: { key: string; message: string }[] = []
  if (share !== undefined) {
    const message =
      'Mosquitto forgets shared subscriptions when it restarts: what it acknowledges from then until an ingest has subscribed again is lost. ' +
      `Where one ingest has the bridge "${name}", leave "share" out (the session is taken along); for several, "standby: true", or topics of ` +
      'their own; at another broker that keeps such subscriptions it is right (docs/bridge.md)'
    notes.push({ key: 'share', message })
  }
  if (id !== undefined && thing === undefined) {
    const message =
      'without "thing" all devices behind the bridge are one publisher, and one suppresses the message of another at a far side that deduplicates ' +
      'where both use the same id; write "thing", or let the id tell the devices apart (docs/delivery.md)'
    notes.push({ key: 'id', message })
  }
  return notes
}
