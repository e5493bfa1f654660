#!/usr/bin/env node
// Whether a running ingest or worker is ready, for health checks of containers: as `sluice health`, without loading Sluice for it, which
// would take twenty times as long, every ten seconds, in the container that is asked. The parameter is the control socket:
// <data>/control.sock, or <data>/worker-NAME.sock. Exits with 0 when ready, 1 when not, 2 when called wrongly.
import { request } from 'node:http'

/** Less than what Docker waits before it ends us without a word. */
const patienceMs = 7_000

const [socketPath, ...more] = process.argv.slice(2)
if (socketPath === undefined || more.length > 0) end(2, 'name the control socket: health.js /data/control.sock')

function end(code, sentence) {
  if (code === 0) console.log(sentence)
  else console.error(sentence)
  process.exit(code)
}

const call = request({ socketPath, path: '/readyz', agent: false, timeout: patienceMs }, (response) => {
  let text = ''
  response.setEncoding('utf8')
  response.on('data', (part) => (text += part))
  response.on('end', () => {
    if (response.statusCode === 200) end(0, 'ready')
    end(1, `not ready: ${text.slice(0, 2_000)}`)
  })
})
call.on('timeout', () => end(1, `no answer within ${patienceMs / 1_000} s`))
call.on('error', (error) => end(1, `nobody answers at ${socketPath}: ${error.message}`))
call.end()
