import type { Access, Principal } from '../../core/access.ts'
import { messageOf } from '../../core/errors.ts'
import type { Log } from '../../core/log.ts'
import { complainAboutStaying } from './admission.ts'
import type { BrokerConnection } from './connection.ts'

/** Connections that are asked about at once: one whose authorizer is slow must not keep the others in. */
const askedAtOnce = 64

/** Who may stay: asked when identities have changed, and when a credential's own time has come. */
export class Staying {
  readonly #access: () => Access
  readonly #log: Log
  /** How often all were asked about. */
  #rounds = 0

  constructor(access: () => Access, log: Log) {
    this.#access = access
    this.#log = log
  }

  /** To be called when a CONNECT begins to be judged: what changes while it is judged it doesn't know. */
  begin(connection: BrokerConnection): void {
    connection.judgedAt = this.#rounds
  }

  /** It is in. Identities may have changed while it was judged, and it was not among those that were looked at then. */
  admitted(connection: BrokerConnection): void {
    if (connection.judgedAt !== this.#rounds) void this.#ask(connection)
  }

  /** Ends a connection whose credential was good until now, and has one looked at again whose time for that has come. */
  lookAtTimes(connection: BrokerConnection, now: number): void {
    const { until, renewAt } = connection.speaker?.principal ?? {}
    if (until !== undefined && until <= now) return connection.cut('expired', 'its credential was good until now')
    if (renewAt !== undefined && renewAt <= now && connection.renewal === 'none') void this.#ask(connection)
  }

  /** Identities or policies have changed: ends the connections of those who may not connect any more, among those that it concerns. */
  async recheck(connections: Iterable<BrokerConnection>, concerns: (principal: Principal) => boolean): Promise<void> {
    this.#rounds += 1
    const next = [...connections].filter(({ speaker }) => speaker !== undefined && concerns(speaker.principal)).values()
    const work = async (): Promise<void> => {
      for (const connection of next) await this.#ask(connection)
    }
    await Promise.all(Array.from({ length: askedAtOnce }, work))
  }

  async #ask(connection: BrokerConnection): Promise<void> {
    // What is being asked may not know what has changed since: it is asked once more.
    if (connection.renewal !== 'none') return void (connection.renewal = 'again')
    do {
      connection.renewal = 'asked'
      try {
        const complaint = await complainAboutStaying(connection, this.#access())
        if (complaint !== undefined) connection.cut('revoked', complaint)
      } catch (error) {
        // Identities that can't be asked now are no reason to throw anybody out.
        const facts = { clientId: connection.clientId, error: messageOf(error) }
        this.#log.warn(facts, 'it could not be said who may stay')
      }
    } while (isAgain(connection))
    connection.renewal = 'none'
  }
}

/** While it was asked, somebody wanted it asked again. */
function isAgain({ renewal, destroyed }: BrokerConnection): boolean {
  return renewal === 'again' && !destroyed
}
