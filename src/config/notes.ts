import type { Problem } from '../core/problem.ts'
import type { WorkerDefinition } from '../core/worker.ts'
import { backlogPolicy } from './backlog-schema.ts'
import type { SluiceFile } from './sluice-file.ts'
import type { BridgeSettings, SluiceSettings } from './sluice-schema.ts'
import type { YamlFile } from './yaml.ts'

/** A note on one key of a bridge. */
export interface BridgeNote {
  readonly key: string
  readonly message: string
}

/** What is taken as it stands, and may not be what was meant: nothing refuses to start for it, `check` tells it. In the order of lines. */
export function notesOn(
  { settings, file }: SluiceFile,
  workers: ReadonlyMap<string, WorkerDefinition>,
  onIdentities: (bridge: BridgeSettings) => readonly BridgeNote[] = () => [],
): readonly Problem[] {
  if (settings === undefined || file === undefined) return []
  const refusing = [...workers.values()].filter(
    (worker) => backlogPolicy(settings.backlog, worker).whenFull === 'refuse',
  )
  const onBridges = settings.bridges
    .flatMap((bridge, index) =>
      [...notesOnBridge(bridge), ...onIdentities(bridge)].map(({ key, message }) => {
        const path = ['bridges', index, key]
        return file.problem(path, `${path.join('.')}: ${message}`)
      }),
    )
    .toSorted((one, other) => one.line - other.line)
  return [...onHolding(settings, file, refusing), ...onBridges]
}

/** A bridge acknowledges in the order of arrival, so what one message waits for, all behind it wait for. */
function onHolding(
  settings: SluiceSettings,
  file: YamlFile,
  refusing: readonly WorkerDefinition[],
): readonly Problem[] {
  const [first, ...others] = refusing
  if (settings.bridges.length === 0 || first === undefined) return []
  const which = others.length === 0 ? `worker ${first.name}` : `any of ${refusing.length} workers (${first.name}, …)`
  const message =
    `bridges: when the backlog of ${which} is full, a message for it holds up everything that comes over the same bridge, because acknowledgements go in order. ` +
    'Nothing is lost by that while the broker keeps it; "backlog: { whenFull: drop-oldest }" or "drop-newest" lets the bridge go on and loses messages (docs/operations.md)'
  return [file.problem(['bridges'], message)]
}

function notesOnBridge({ name, share, id, thing }: BridgeSettings): readonly BridgeNote[] {
  const notes: BridgeNote[] = []
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
