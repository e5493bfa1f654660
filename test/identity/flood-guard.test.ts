import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import * as fc from 'fast-check'
import type { HttpFacts, Presented } from '../../src/core/access.ts'
import type { Facts, Log } from '../../src/core/log.ts'
import { createFloodGuard, defaultFloodLimits, type FloodLimits } from '../../src/identity/flood-guard.ts'
import { addressOf, claimsOf } from '../../src/identity/flood-guard/claims.ts'

const { perAddress, perPrincipal, perLocalAddress } = defaultFloodLimits

const mqtt = (sourceIp: string, username: string, password = 'a guess'): Presented => ({
  protocol: 'mqtt',
  sourceIp,
  username,
  password: Buffer.from(password),
})
const http = (sourceIp: string, headers: Readonly<Record<string, string>>, query = ''): Presented => ({
  protocol: 'http',
  sourceIp,
  http: { method: 'POST', path: '/topics/a', query, headers },
})

/** A guard on a clock of the test's own, and what it wrote. */
function guarded(limits: Partial<FloodLimits> = {}) {
  const clock = { time: 0 }
  const lines: [string, Facts][] = []
  const write = (facts: Facts, message: string) => void lines.push([message, facts])
  const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log }
  const guard = createFloodGuard({ limits, log, now: () => clock.time })
  const fail = (presented: Presented, times: number) => {
    for (let count = 0; count < times; count += 1) guard.failed(presented)
  }
  return { guard, clock, lines, fail }
}

describe('flood guard', () => {
  it('refuses an address that has failed too often, whatever it claims, and lets it try again bit by bit', () => {
    const { guard, clock, fail } = guarded()
    const stranger = mqtt('192.0.2.1', 'a')
    fail(stranger, perAddress - 1)
    assert.equal(guard.ask(stranger), undefined)
    fail(stranger, 1)
    assert.deepEqual(guard.ask(stranger), { wait: 60_000 / perAddress })
    assert.deepEqual(guard.ask(mqtt('192.0.2.1', 'b')), { wait: 60_000 / perAddress })
    assert.deepEqual(guard.ask({ protocol: 'mqtt', sourceIp: '192.0.2.1' }), { wait: 60_000 / perAddress })
    assert.equal(guard.ask(mqtt('192.0.2.2', 'a')), undefined)

    clock.time = 60_000 / perAddress
    assert.equal(guard.ask(stranger), undefined)
    fail(stranger, 1)
    assert.deepEqual(guard.ask(stranger), { wait: 60_000 / perAddress })
    clock.time += 60_000
    fail(stranger, perAddress - 1)
    assert.equal(guard.ask(stranger), undefined)
  })

  it('remembers each credential that one HTTP connection proves', () => {
    const { guard, fail } = guarded()
    const connection = {}
    const over = (token: string): Presented => {
      const authorization = `Bearer ${token}`
      const request = http('192.0.2.1', { authorization })
      return { ...request, bearer: token, http: { ...(request.http as HttpFacts), connection } }
    }
    for (const token of ['a', 'a', 'b', 'a']) guard.succeeded(over(token))
    fail(mqtt('192.0.2.1', 'x'), perAddress)
    for (const token of ['a', 'b']) assert.equal(guard.ask(over(token)), undefined, token)
    assert.notEqual(guard.ask(over('c')), undefined)
  })

  it('counts those that were under way at once, and forgives them in minutes', () => {
    const { guard, clock, fail } = guarded()
    const stranger = mqtt('192.0.2.1', 'a')
    fail(stranger, 100_000)
    assert.deepEqual(guard.ask(stranger), { wait: (60_000 * (5 * perAddress + 1)) / perAddress })
    clock.time = 6 * 60_000
    assert.equal(guard.ask(stranger), undefined)
  })

  it('refuses a name that fails from many addresses, but not those who have proved it lately', () => {
    const { guard, clock, fail } = guarded()
    const honest = mqtt('198.51.100.7', 'd-17', 'right')
    guard.succeeded(honest)
    for (let index = 0; index < perPrincipal; index += 1) fail(mqtt(`192.0.2.${index}`, 'd-17'), 1)
    assert.deepEqual(guard.ask(mqtt('203.0.113.1', 'd-17')), { wait: 60_000 / perPrincipal })
    assert.equal(guard.ask(mqtt('203.0.113.1', 'd-18')), undefined)
    assert.equal(guard.ask(honest), undefined)

    // Who shares its address may guess its password no oftener than from anywhere else.
    fail(honest, perAddress)
    assert.ok(guard.ask(honest) !== undefined)
    clock.time = 7 * 60_000
    assert.equal(guard.ask(honest), undefined)
  })

  it('does not shut those out who have proved themselves behind an address that fails', () => {
    const { guard, fail } = guarded()
    const bearer = (token: string): Presented => ({
      protocol: 'http',
      sourceIp: '192.0.2.1',
      bearer: token,
    })
    guard.succeeded(bearer('right'))
    guard.succeeded(mqtt('192.0.2.1', 'd-17', 'right'))
    fail(bearer('a guess'), perAddress)
    assert.equal(guard.ask(bearer('right')), undefined)
    assert.equal(guard.ask(mqtt('192.0.2.1', 'd-17')), undefined)
    assert.ok(guard.ask(bearer('another guess')) !== undefined)
    assert.ok(guard.ask(mqtt('192.0.2.1', 'd-18')) !== undefined)
    // All that is claimed must have been proved.
    assert.ok(guard.ask({ ...mqtt('192.0.2.1', 'd-17'), tls: { certificate: Buffer.from('another') } }) !== undefined)
  })

  it('takes what was claimed beside a good proof for no proof of its own', () => {
    const { guard, fail } = guarded()
    const certificate = Buffer.from('a certificate of their own')
    for (const name of ['a', 'b']) guard.succeeded({ ...mqtt('192.0.2.1', name), tls: { certificate } })
    fail(mqtt('192.0.2.1', 'a'), perAddress)
    assert.notEqual(guard.ask(mqtt('192.0.2.1', 'a')), undefined)
    assert.notEqual(guard.ask(mqtt('192.0.2.1', 'b')), undefined)
    assert.equal(guard.ask({ ...mqtt('192.0.2.1', 'b'), tls: { certificate } }), undefined)
  })

  it('forgets after its time who has proved something', () => {
    const { guard, clock, fail } = guarded({ provedMs: 1000 })
    const honest = mqtt('192.0.2.1', 'd-17')
    guard.succeeded(honest)
    fail(mqtt('192.0.2.1', 'x'), 1000)
    clock.time = 999
    assert.equal(guard.ask(honest), undefined)
    guard.succeeded(honest)
    clock.time = 1998
    assert.equal(guard.ask(honest), undefined)
    clock.time = 1999
    assert.ok(guard.ask(honest) !== undefined)
  })

  it('gives this machine more room, because a proxy may stand there', () => {
    const { guard, fail } = guarded()
    for (const sourceIp of ['127.0.0.1', '::1', '::ffff:127.0.0.2']) {
      const stranger = { protocol: 'mqtt', sourceIp } as const
      fail(stranger, perAddress * 2)
      assert.equal(guard.ask(stranger), undefined)
      fail(stranger, perLocalAddress)
      assert.ok(guard.ask(stranger) !== undefined)
    }
  })

  it('takes a /64 of IPv6 for one address', () => {
    const { guard, fail } = guarded()
    for (let index = 0; index < perAddress; index += 1) fail({ protocol: 'mqtt', sourceIp: `2001:db8::${index}` }, 1)
    assert.ok(guard.ask({ protocol: 'mqtt', sourceIp: '2001:DB8:0:0:ffff::1%eth0' }) !== undefined)
    assert.equal(guard.ask({ protocol: 'mqtt', sourceIp: '2001:db8:0:1::1' }), undefined)
  })

  it('says once that a burst begins, and once that it is over, with how many were refused', () => {
    const { guard, clock, lines, fail } = guarded()
    fail(mqtt('192.0.2.1', 'd-17'), perAddress)
    for (let count = 0; count < 500; count += 1) {
      clock.time += 100
      guard.ask(mqtt('192.0.2.1', 'd-17'))
      guard.failed(mqtt('192.0.2.1', 'd-17'))
    }
    const begins = 'too many failed authentications; further ones are refused without a look for a while'
    const ends = 'the failed authentications are over'
    assert.deepEqual(lines, [
      [begins, { address: '192.0.2.1', protocol: 'mqtt' }],
      [begins, { principal: 'd-17', address: '192.0.2.1', protocol: 'mqtt' }],
    ])
    lines.length = 0
    clock.time += 59_999
    guard.sweep()
    assert.deepEqual(lines, [])
    clock.time += 1
    guard.sweep()
    assert.deepEqual(lines[0], [ends, { address: '192.0.2.1', protocol: 'mqtt', refused: 500, seconds: 50 }])
    assert.equal(lines.length, 2)
    guard.sweep()
    assert.equal(lines.length, 2)
  })

  it('writes no line for each of a thousand addresses', () => {
    const { guard, lines, fail } = guarded()
    for (let index = 0; index < 1000; index += 1)
      fail({ protocol: 'mqtt', sourceIp: `10.0.${index >> 8}.${index & 255}` }, 30)
    assert.equal(lines.length, 101)
    assert.deepEqual(lines.at(-1)?.[1], { from: 'more than 100 at once' })
    lines.length = 0
    guard.close()
    assert.equal(lines.length, 101)
  })

  it('writes no password, token or signature', () => {
    const { guard, lines, fail } = guarded()
    const shown = [
      mqtt('192.0.2.1', 'd-17?x-amz-customauthorizer-name=a&tok=s3cret-token', 's3cret-password'),
      { protocol: 'http', sourceIp: '192.0.2.2', bearer: 's3cret-bearer' } as const,
      http('192.0.2.3', { authorization: `Basic ${Buffer.from('d-17:s3cret-basic').toString('base64')}` }),
      mqtt('192.0.2.4', 'any', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyZXQifQ.s3cret'),
    ]
    for (const presented of shown) {
      fail(presented, 200)
      guard.ask(presented)
    }
    guard.close()
    assert.ok(lines.length >= 8)
    assert.doesNotMatch(JSON.stringify(lines), /s3cret|eyJ/)
  })
})

describe('flood guard: what is claimed', () => {
  const key = Buffer.alloc(32)
  const names = (presented: Presented) => claimsOf(presented, key).names

  it('is a user name with a password, an access key, a certificate, a principal of a webhook', () => {
    const certificate = Buffer.from('certificate')
    assert.deepEqual(names(mqtt('192.0.2.1', 'd-17')), ['d-17'])
    assert.deepEqual(names(http('', { authorization: `Basic ${Buffer.from('d-17:x:y').toString('base64')}` })), [
      'd-17',
    ])
    assert.deepEqual(
      names(http('', { authorization: 'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/x' })),
      ['AKIDEXAMPLE'],
    )
    assert.deepEqual(names(http('', {}, 'a=b&X-Amz-Credential=AKIDEXAMPLE%2F20150830')), ['AKIDEXAMPLE'])
    assert.deepEqual(names(http('', {}, 'X%2DAmz-Credential=AKIDEXAMPLE/20150830')), ['AKIDEXAMPLE'])
    assert.deepEqual(names(http('', { 'x-sluice-principal': 'plant' })), ['plant'])
    assert.deepEqual(names({ protocol: 'mqtt', tls: { certificate } }), [
      createHash('sha256').update(certificate).digest('hex'),
    ])
  })

  it('is no user name that says nothing: beside a certificate or a JWT', () => {
    assert.deepEqual(names({ protocol: 'mqtt', username: '?SDK=nodejs&Version=1' }), [])
    assert.deepEqual(names(mqtt('', '?x-amz-customauthorizer-name=a')), [])
    const jwt = mqtt('', 'jwt', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl')
    assert.deepEqual(names(jwt), [])
    assert.ok(claimsOf(jwt, key).credential !== undefined)
    assert.notEqual(claimsOf(jwt, key).credential, claimsOf(jwt, Buffer.alloc(32, 1)).credential)
  })

  it('never makes it throw, and is never long', () => {
    const text = fc.string({ unit: 'binary' })
    fc.assert(
      fc.property(
        fc.record(
          {
            username: text,
            password: fc.uint8Array(),
            bearer: text,
            sourceIp: fc.oneof(text, fc.ipV6(), fc.ipV4()),
            authorization: text,
            query: text,
          },
          { requiredKeys: [] },
        ),
        ({ username, password, bearer, sourceIp, authorization, query }) => {
          const presented = {
            protocol: 'http',
            http: {
              method: '',
              path: '',
              query: query ?? '',
              headers: authorization === undefined ? {} : { authorization },
            },
            ...(username !== undefined && { username }),
            ...(password !== undefined && { password: Buffer.from(password) }),
            ...(bearer !== undefined && { bearer }),
          } as const
          for (const name of names(presented)) assert.ok(name.length <= 128)
          assert.ok(addressOf(sourceIp).text.length <= 40)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('knows one address by one text', () => {
    for (const [text, address] of [
      ['192.0.2.1', '192.0.2.1'],
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['::FFFF:c000:201', '192.0.2.1'],
      ['2001:db8::1', '2001:db8:0:0::/64'],
      ['2001:0db8:0000:0000:1::', '2001:db8:0:0::/64'],
      ['2001:db8:1:2:3:4:192.0.2.1', '2001:db8:1:2::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      ['::1', '0:0:0:0::/64'],
      ['not an address', 'unknown'],
    ] as const)
      assert.equal(addressOf(text).text, address)
    assert.equal(addressOf(undefined).local, true)
    assert.equal(addressOf('::2').local, false)
  })
})

describe('flood guard: properties', () => {
  const octet = fc.nat({ max: 255 })
  const attack = fc.record({
    sourceIp: fc.oneof(
      fc.tuple(octet, octet).map(([c, d]) => `192.0.${c}.${d}`),
      fc.constant('127.0.0.1'),
      fc.ipV6().filter((text) => !text.includes('.')),
    ),
    name: fc
      .oneof(fc.constantFrom('x', 'y', ''), fc.string({ maxLength: 200 }))
      .filter((name) => !name.startsWith('honest')),
    times: fc.nat({ max: 200 }),
    succeeds: fc.boolean(),
    afterMs: fc.nat({ max: 20_000 }),
  })

  it('an honest principal on its own address is refused by no flood from elsewhere on other principals', () => {
    fc.assert(
      fc.property(fc.array(attack, { maxLength: 60 }), fc.boolean(), (attacks, wasHere) => {
        const { guard, clock } = guarded({ addresses: 5, principals: 5, proved: 1000 })
        const honest = mqtt('198.51.100.7', 'honest', 'right')
        if (wasHere) guard.succeeded(honest)
        for (const { sourceIp, name, times, succeeds, afterMs } of attacks) {
          clock.time += afterMs
          for (let count = 0; count < times; count += 1) {
            guard.ask(mqtt(sourceIp, name))
            guard.failed(mqtt(sourceIp, name))
          }
          if (succeeds) guard.succeeded(mqtt(sourceIp, name))
          assert.equal(guard.ask(honest), undefined)
        }
        guard.close()
      }),
    )
  })

  it('one who has proved it lately is refused by no flood from elsewhere on its own name either', () => {
    fc.assert(
      fc.property(fc.array(attack, { maxLength: 60 }), (attacks) => {
        const { guard, clock } = guarded()
        const honest = mqtt('198.51.100.7', 'honest', 'right')
        guard.succeeded(honest)
        for (const { sourceIp, times, afterMs } of attacks) {
          clock.time += afterMs
          for (let count = 0; count < times; count += 1) guard.failed(mqtt(sourceIp, 'honest'))
          assert.equal(guard.ask(honest), undefined)
        }
        guard.close()
      }),
    )
  })

  it('remembers no more than its bounds, whatever comes', () => {
    const bounds = { addresses: 50, principals: 40, proved: 30 }
    const { guard, clock } = guarded(bounds)
    for (let index = 0; index < 20_000; index += 1) {
      clock.time += 1
      const presented = mqtt(`2001:db8:${(index % 65_536).toString(16)}::1`, `name-${index}`)
      for (let count = 0; count < 3; count += 1) guard.failed(presented)
      if (index % 3 === 0) guard.succeeded(presented)
      guard.failed(presented)
    }
    // Buckets of those who have proved something, and who they are; and the bursts that are told apart.
    assert.ok(guard.remembered() <= 50 + 40 + 30 + 30 + 101, String(guard.remembered()))
    assert.ok(guard.remembered() >= 150)
    guard.close()
  })
})
