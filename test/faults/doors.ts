import { connect } from 'mqtt'
import type { Scope } from '../support/cleanup.ts'
import { ownTelemetry, post, principalEntry } from '../support/sluice.ts'
import type { Random } from './random.ts'

export type Door = 'bridge' | 'broker' | 'http'

const things = Array.from({ length: 8 }, (_, index) => `d-${index}`)

/** One thing and one principal each, which may publish below their own name. */
export const identities = {
  things: things.map((name) => ({ name, policies: ['telemetry'] })),
  principals: things.map((name) => principalEntry(name, tokenOf(name), { thing: name, policies: ['telemetry'] })),
  policies: {
    telemetry: ownTelemetry,
  },
}

/** What was published before that is a trial. */
const firstNumber = 1_000

/** Publishes trial messages until `hasCome` says that one has come out: a broker keeps nothing for a bridge that has never subscribed. */
export async function tryDoor(scope: Scope, door: Door, port: number, hasCome: () => Promise<boolean>): Promise<void> {
  const publish = publisherOf(scope, door, port, things[0] ?? '')
  for (let n = 0; !(await hasCome()); n += 1) {
    if (n === firstNumber) throw new Error('no message comes through')
    await publish(n)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Devices that publish all the while. */
export interface Load {
  /** Numbers of the messages that were acknowledged: each must come out, or be accounted for. */
  readonly acknowledged: ReadonlySet<number>
  /** Publishes nothing new, and waits for what is under way for at most `ms`. */
  stop(ms: number): Promise<void>
}

/**
 * Eight things that publish `{"n":…}` at QoS 1, each its next when the one before was acknowledged or refused. Over MQTT a client that lost its
 * connection comes back and sends again what was not acknowledged [MQTT-4.4.0-1].
 */
export function startLoad(scope: Scope, door: Door, port: number, random: Random): Load {
  const acknowledged = new Set<number>()
  const ending = new AbortController()
  let last = firstNumber - 1
  const lanes = things.map(async (name) => {
    const publish = publisherOf(scope, door, port, name)
    while (!ending.signal.aborted) {
      const n = (last += 1)
      if (await publish(n)) acknowledged.add(n)
      // Some at once, some one by one; the machine has other things to do as well.
      await new Promise((resolve) => setTimeout(resolve, random.between(0, 40)))
    }
  })
  return {
    acknowledged,
    async stop(ms) {
      ending.abort()
      const late = new Promise((resolve) => setTimeout(resolve, ms).unref())
      await Promise.race([Promise.all(lanes), late])
    },
  }
}

type Publish = (n: number) => Promise<boolean>

function publisherOf(scope: Scope, door: Door, port: number, name: string): Publish {
  return door === 'http' ? overHttp(port, name) : overMqtt(scope, port, name, door === 'broker')
}

function overHttp(port: number, name: string): Publish {
  return async (n) => {
    const answer = await post(port, tokenOf(name), `devices/${name}/${n}`, bodyOf(n)).catch(() => undefined)
    // A door that is closed answers at once.
    if (answer?.status !== 200) await new Promise((resolve) => setTimeout(resolve, 50))
    return answer?.status === 200
  }
}

function overMqtt(scope: Scope, port: number, name: string, proves: boolean): Publish {
  const client = connect(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 4,
    clientId: name,
    ...(proves && { username: name, password: tokenOf(name) }),
    reconnectPeriod: 200,
    clean: true,
  })
  client.on('error', () => {})
  scope.after(() => client.endAsync(true))
  return (n) =>
    client.publishAsync(`devices/${name}/${n}`, bodyOf(n), { qos: 1 }).then(
      () => true,
      () => false,
    )
}

function tokenOf(name: string): string {
  return `token-of-${name}`
}

/** Some small, some of a few kilobytes. */
function bodyOf(n: number): string {
  return JSON.stringify({ n, celsius: 20 + (n % 10), note: 'x'.repeat(n % 16 === 0 ? 4_000 : 40) })
}
