import { randomBytes } from 'node:crypto'

export interface HelloParts {
  /** Suites of TLS 1.2, by number. */
  readonly suites?: readonly number[]
  /** Name, or the bytes of the whole extension's content. */
  readonly serverName?: string | Buffer
  /** Further extensions: type and content. */
  readonly extensions?: readonly (readonly [type: number, content: Buffer])[]
}

/** A vector with its length in front. */
export function vector(sizeBytes: number, ...parts: readonly (Buffer | Uint8Array)[]): Buffer {
  const content = Buffer.concat(parts)
  const size = Buffer.alloc(sizeBytes)
  size.writeUIntBE(content.length, 0, sizeBytes)
  return Buffer.concat([size, content])
}

export function number16(...values: readonly number[]): Buffer {
  return Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 255])))
}

/** The content of a server_name extension. */
export function nameExtension(name: string): Buffer {
  return vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name, 'latin1'))]))
}

/** The handshake message of a ClientHello of TLS 1.2, for what no client would send. */
export function handmadeMessage({ suites = [0xc02f], serverName, extensions = [] }: HelloParts = {}): Buffer {
  const name = typeof serverName === 'string' ? nameExtension(serverName) : serverName
  const all: (readonly [number, Buffer])[] = [
    ...(name === undefined ? [] : ([[0, name]] as const)),
    [10, vector(2, number16(29, 23))], // supported_groups: X25519, P-256
    [11, vector(1, Buffer.from([0]))], // ec_point_formats
    [13, vector(2, number16(0x0403, 0x0401, 0x0804))], // signature_algorithms
    ...extensions,
  ]
  const body = [
    number16(0x0303),
    randomBytes(32),
    vector(1, Buffer.alloc(0)),
    vector(2, number16(...suites)),
    vector(1, Buffer.from([0])),
    vector(2, ...all.map(([type, content]) => Buffer.concat([number16(type), vector(2, content)]))),
  ]
  return Buffer.concat([Buffer.from([1]), vector(3, ...body)])
}

/** A message in records that hold at most `size` bytes each. */
export function inRecords(message: Buffer, size = 16_384): Buffer {
  const records: Buffer[] = []
  for (let at = 0; at < message.length; at += size) {
    records.push(Buffer.concat([Buffer.from([22, 3, 1]), vector(2, message.subarray(at, at + size))]))
  }
  return Buffer.concat(records)
}

export function handmadeHello(parts?: HelloParts): Buffer {
  return inRecords(handmadeMessage(parts))
}
