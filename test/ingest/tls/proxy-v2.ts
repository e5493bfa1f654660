import { vector } from './handmade-hello.ts'

/** A PROXY header of version 2: version and command, family and protocol, and what follows its length. */
export function proxyV2(command: number, family: number, rest: Buffer): Buffer {
  const head = [Buffer.from('0d0a0d0a000d0a515549540a', 'hex'), Buffer.from([command, family])]
  return Buffer.concat([...head, vector(2, rest)])
}
