// Before the tests: brings the servers that they talk to. Plain JavaScript, so that an old Node can say what is missing too.
// Root on Debian: installs them with apt, without letting Debian start them as services. Anybody else: says what to run.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'

const wanted = {
  'redis-server': 'redis-server',
  mosquitto: 'mosquitto',
  mosquitto_pub: 'mosquitto-clients',
  'docker-compose': 'docker-compose',
  openssl: 'openssl',
  curl: 'curl',
  strace: 'strace',
  faketime: 'faketime',
}
const onPath = (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0
const missing = Object.keys(wanted).filter((program) => !onPath(program))
if (missing.length > 0) {
  const packages = missing.map((program) => wanted[program])
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`
  const debian = existsSync('/etc/debian_version')
  if (!debian || process.getuid?.() !== 0) {
    const how = debian
      ? `sudo sh -c "apt-get update && ${command}"`
      : `install them with your package manager: ${packages.join(', ')}`
    console.error(
      `The tests talk to real servers, and these are missing: ${missing.join(', ')}.\n${debian ? 'Run' : 'Please'} ${how}`,
    )
    process.exit(1)
  }
  console.log(`Installing ${packages.join(', ')} for the tests.`)
  install(command)
  const still = missing.filter((program) => !onPath(program))
  if (still.length > 0) {
    console.error(`apt did not bring ${still.join(', ')}; run: apt-get update && ${command}`)
    process.exit(1)
  }
}

function install(command) {
  // 101 tells Debian's packages not to start their services (invoke-rc.d's policy file); an existing file is put back.
  const policy = '/usr/sbin/policy-rc.d'
  const before = existsSync(policy) ? readFileSync(policy) : undefined
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    spawnSync('sh', ['-c', `apt-get update -q && ${command}`], { stdio: 'inherit', env })
  } finally {
    if (before === undefined) rmSync(policy)
    else writeFileSync(policy, before, { mode: 0o755 })
  }
}
