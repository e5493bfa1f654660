import { equal, match } from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import {
  complainAboutReservedFilter,
  complainAboutReservedTopic,
  complainAboutRetained,
} from '../../src/policy/reserved-topics.ts'

describe('publishing', () => {
  it('is open under plain topics and the request topics of AWS', () => {
    for (const topic of [
      'a/b',
      'a/$aws',
      '$aws/rules/r',
      '$aws/rules/r/a/b/c',
      '$aws/things/t/shadow/update',
      '$aws/things/t/shadow/name/s/get',
      '$aws/things/t/jobs/start-next',
      '$aws/things/t/jobs/$next/get',
      '$aws/things/t/defender/metrics/json',
      '$aws/certificates/create-from-csr/cbor',
      '$aws/provisioning-templates/t/provision/json',
    ]) {
      equal(complainAboutReservedTopic(topic), undefined, topic)
    }
  })

  it('is closed under everything else that begins with a dollar', () => {
    for (const topic of [
      '$',
      '$SYS/broker/uptime',
      '$share/g/a',
      '$aws',
      '$aws/rules',
      '$aws/rules/',
      '$aws/rules//a',
      '$aws/things/t/shadow/update/accepted',
      '$aws/things/t/shadow/update/',
      '$aws/things//shadow/update',
      '$aws/things/t/shadow/name/s',
      '$aws/events/presence/connected/c',
      '$AWS/rules/r',
      '$other/x',
    ]) {
      match(complainAboutReservedTopic(topic) ?? '', /reserved/, topic)
    }
  })
})

test('nothing is retained under a dollar, open or not', () => {
  match(complainAboutRetained('$aws/things/t/shadow/update') ?? '', /nothing is retained/)
  match(complainAboutRetained('$other') ?? '', /nothing is retained/)
  equal(complainAboutRetained('a/$aws'), undefined)
})

describe('subscribing', () => {
  it('is open to filters that can match an answer or an event', () => {
    for (const filter of [
      '#',
      '+/a',
      'a/#',
      '$share/g/a/#',
      '$aws/events/#',
      '$aws/events/presence/connected/+',
      '$aws/things/t/shadow/#',
      '$aws/things/+/shadow/update/delta',
      '$aws/things/t/jobs/+/+/accepted',
      '$aws/things/t/jobs/notify/#',
      '$share/g/$aws/things/t/tunnels/notify',
    ]) {
      equal(complainAboutReservedFilter(filter), undefined, filter)
    }
  })

  it('is closed for the topics of Basic Ingest and those of the broker', () => {
    for (const filter of [
      '$aws/rules/#',
      '$aws/rules/r/+',
      '$aws/rules/r/a',
      '$share/g/$aws/rules/#',
      '$SYS/#',
      '$share/g/$SYS/#',
      '$other',
      '$aws/certificates/create/json',
    ]) {
      match(complainAboutReservedFilter(filter) ?? '', /reserved/, filter)
    }
  })
})
