import type { Problem } from '../core/problem.ts'
import type { SluiceFile } from './sluice-file.ts'

/** What is taken as it stands, and may not be what was meant: nothing refuses to start for it, `check` tells it. In the order of lines. */
export function notesOn({ settings, file }: SluiceFile): readonly Problem[] {
  if (settings === undefined || file === undefined) return []
  return settings.bridges.flatMap(({ name, share }, index) => {
    if (share === undefined) return []
    const path = ['bridges', index, 'share']
    return [
      file.problem(
        path,
        `${path.join('.')}: Mosquitto forgets shared subscriptions when it restarts: what it acknowledges from then until an ingest has subscribed again is lost. ` +
          `Where one ingest has the bridge "${name}", leave "share" out (the session is taken along); for several, "standby: true", or topics of ` +
          'their own; at another broker that keeps such subscriptions it is right (docs/bridge.md)',
      ),
    ]
  })
}
