#!/usr/bin/env node
// Finds a Node that runs TypeScript as it is, and starts src/main.ts on it. Plain JavaScript on purpose: an old Node
// must be able to read this far. The pinned Node comes from package.json's optionalDependencies.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const main = new URL('../src/main.ts', import.meta.url)
const pinned = fileURLToPath(
  new URL(`../node_modules/.bin/node${process.platform === 'win32' ? '.cmd' : ''}`, import.meta.url),
)

if (Number(process.versions.node.split('.')[0]) >= 24) {
  await import(main.href)
} else if (existsSync(pinned)) {
  const child = spawn(pinned, [fileURLToPath(main), ...process.argv.slice(2)], { stdio: 'inherit' })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('exit', (code, signal) => (signal ? process.kill(process.pid, signal) : process.exit(code ?? 1)))
} else {
  console.error(
    `sluice needs Node 24 or newer and this is ${process.version}: run "npm ci" (it brings a pinned Node 26), or install Node 26.`,
  )
  process.exit(2)
}
