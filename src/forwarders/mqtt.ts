import { randomBytes } from 'node:crypto'
import type { Credential } from '../core/credential.ts'
import { SluiceError } from '../core/errors.ts'
import { defineForwarder } from '../core/forwarder.ts'
import type { Outcome } from '../core/outcome.ts'
import { Redactor } from '../core/redactor.ts'
import { parseBrokerUrl } from '../mqtt/address.ts'
import { createDialer } from '../mqtt/dial.ts'
import type { OutgoingPublish } from '../mqtt/publish.ts'
import { messageOf } from './mqtt-message.ts'
import { MqttSender } from './mqtt-sender.ts'
import { type MqttSettings, mqttSettings, mqttWith } from './mqtt-settings.ts'
import { rejected, unanswered } from './outcomes.ts'

/** Addresses that no other machine hears. */
const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/

/** The kind `mqtt`: publishes to a broker, MQTT 5 or 3.1.1. */
export const mqtt = defineForwarder({
  kind: 'mqtt',
  summary: 'Publishes messages to an MQTT broker, each under a topic that the rule makes.',
  credentials: ['mqtt'],
  settings: mqttSettings,
  with: mqttWith,
  // As an envelope. All of a batch are on their way at once.
  limits: { messages: 256, bytes: 1_048_576 },
  examine({ url, tls }) {
    if (tls === undefined || parseBrokerUrl(url).tls) return []
    return [{ path: 'tls', message: 'has no use with this url; write mqtts://' }]
  },
  async open(settings, { credential, worker }) {
    complainAboutClearText(settings, credential)
    const own = credential?.use === 'mqtt' ? credential : undefined
    const redactor = new Redactor()
    if (own?.password !== undefined) redactor.add(own.password)
    const sender = new MqttSender(
      createDialer({
        url: settings.url,
        clientId: settings.clientId ?? `sluice-worker-${worker}-${randomBytes(6).toString('hex')}`,
        // Nothing is subscribed and what is not acknowledged is sent again by delivery/: there is nothing to keep.
        clean: true,
        sessionExpirySeconds: 0,
        keepaliveMs: settings.keepalive,
        tls: {
          ...settings.tls,
          ...(own?.certificate !== undefined && { certificate: own.certificate }),
          ...(own?.key !== undefined && { key: own.key }),
        },
        ...(own?.username !== undefined && { username: own.username }),
        ...(own?.password !== undefined && { password: own.password }),
      }),
      settings.inFlight,
    )

    return {
      async send(batch, signal) {
        if (signal.aborted) return batch.map(() => unanswered('the send was broken off'))
        const outcomes: (Outcome | undefined)[] = []
        const messages: OutgoingPublish[] = []
        for (const item of batch) {
          const made = messageOf(item, settings.maxHops)
          if ('never' in made) outcomes.push(rejected(made.never))
          else outcomes.push(undefined)
          if ('message' in made) messages.push(made.message)
        }
        const sent = (await sender.send(messages, signal)).values()
        return outcomes.map((outcome) => scrubbed(outcome ?? sent.next().value ?? unanswered('not sent'), redactor))
      },
      check: () => sender.connect(),
      close: () => sender.close(),
    }
  },
})

/** A secret is not sent where others can read it, unless somebody says so. */
function complainAboutClearText({ url, insecure }: MqttSettings, credential: Credential | undefined): void {
  const { host, tls } = parseBrokerUrl(url)
  if (credential === undefined || tls || loopback.test(host) || insecure) return
  const message = `the credential would go to ${host} without TLS; write mqtts://, or "insecure: true" if something else protects it`
  throw new SluiceError('CONFIG_INVALID', message)
}

/** Some brokers quote in their answer what they were sent. */
function scrubbed(outcome: Outcome, redactor: Redactor): Outcome {
  return outcome.kind === 'delivered' ? outcome : { ...outcome, reason: redactor.scrub(outcome.reason) }
}
