import { readFileSync } from 'node:fs'

/** The id of this start of this machine; undefined where there is none (Linux only). A container has its host's. */
export function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return undefined
  }
}
