import assert from 'node:assert/strict'
import { it } from 'node:test'
import { parseRedisUrl } from '../../src/core/redis-url.ts'
import { readRedisUrl } from '../../src/queue/redis-options.ts'

const complaint = (text: string) => {
  const url = parseRedisUrl(text)
  return 'complaint' in url ? url.complaint : ''
}

it('reads one Redis', () => {
  assert.deepEqual(parseRedisUrl('redis://queue'), { secure: false, hosts: [{ host: 'queue', port: 6379 }] })
  assert.deepEqual(parseRedisUrl('rediss://us%20er:p%40ss@[::1]:7000/3'), {
    secure: true,
    hosts: [{ host: '::1', port: 7000 }],
    username: 'us er',
    password: 'p@ss',
    db: 3,
  })
  assert.partialDeepStrictEqual(parseRedisUrl('redis://:a:b@queue/'), { password: 'a:b' })
})

it('reads sentinels and the name of the primary that they watch', () => {
  assert.deepEqual(parseRedisUrl('redis+sentinel://u:p@s1,s2:26380,[fe80::1]/plant%201/2'), {
    secure: false,
    hosts: [
      { host: 's1', port: 26379 },
      { host: 's2', port: 26380 },
      { host: 'fe80::1', port: 26379 },
    ],
    primary: 'plant 1',
    username: 'u',
    password: 'p',
    db: 2,
  })
  assert.partialDeepStrictEqual(parseRedisUrl('rediss+sentinel://s1/plant'), { secure: true, primary: 'plant' })
})

it('says what is wrong without what may be a secret', () => {
  const cases: readonly (readonly [url: string, says: RegExp])[] = [
    ['postgres://me:hunter2@db/x', /^must be "embedded" or the address of a Redis/],
    ['redis://', /^must be "embedded"/],
    ['redis://:hunter2@host/db', /^must be "embedded"/],
    ['redis+sentinel://:hunter2@s1,s2', /^must name the primary/],
    ['redis+sentinel://:hunter2@s1/', /^must name the primary/],
    ['redis+sentinel://:hunter2@s1/plant/x', /^must be "embedded"/],
    ['redis://:hunter2@a,b', /^holds a host that is none/],
    ['redis+sentinel://a:hunter2,b/plant', /^holds a host that is none/],
    ['redis://a:70000', /^holds a host that is none/],
    ['redis://:hunter2%@a', /^holds a "%"/],
  ]
  for (const [url, says] of cases) {
    assert.match(complaint(url), says, url)
    assert.ok(!complaint(url).includes('hunter2'))
  }
})

it('shows an address without user and password', () => {
  const labels = {
    'redis://user:hunter2@host': 'redis://host:6379',
    'rediss://user:hunter2@[::1]/3': 'rediss://[::1]:6379/3',
    'redis+sentinel://user:hunter2@s1,s2:1/plant/3': 'redis+sentinel://s1:26379,s2:1/plant/3',
  }
  for (const [url, label] of Object.entries(labels)) assert.equal(readRedisUrl(url).label, label)
})
