import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'

type Data = string | ArrayBuffer | ArrayBufferView

/** What the signer wants of a hash, over node:crypto: a plain one, or an HMAC where it is given a key. */
export class Sha256 {
  #hash: Hash | Hmac
  readonly #key: string | Uint8Array | undefined
  constructor(key?: Data) {
    this.#key = key === undefined || typeof key === 'string' ? key : bytesOf(key)
    this.#hash = this.#start()
  }
  update(data: Data): void {
    this.#hash.update(typeof data === 'string' ? data : bytesOf(data))
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {
    this.#hash = this.#start()
  }
  #start(): Hash | Hmac {
    return this.#key === undefined ? createHash('sha256') : createHmac('sha256', this.#key)
  }
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data)
}
