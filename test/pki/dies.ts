import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

// Runs one function of src/pki/ and kills this process at its n-th file, before the file has its name or just after.
// Parameters: before|after, n, module, function, and the function's parameters as JSON.
const [when, count, module = '', name = '', parameters = '[]'] = process.argv.slice(2)
const rename = promises.rename
let left = Number(count)
promises.rename = async (from, to) => {
  left -= 1
  if (left === 0 && when === 'before') process.kill(process.pid, 'SIGKILL')
  await rename(from, to)
  if (left === 0) process.kill(process.pid, 'SIGKILL')
}
syncBuiltinESMExports()

const functions = (await import(`../../src/pki/${module}.ts`)) as Record<
  string,
  (...all: unknown[]) => Promise<unknown>
>
await functions[name]?.(...(JSON.parse(parameters) as unknown[]))
