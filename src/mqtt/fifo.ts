/** Taken places that may be left in front before the array is cut. */
const slack = 1_024

/** First in, first out. `Array.shift` moves everything behind the first, which a queue of many thousands feels. */
export class Fifo<Value> {
  #values: Value[] = []
  #head = 0

  get size(): number {
    return this.#values.length - this.#head
  }

  push(value: Value): void {
    this.#values.push(value)
  }

  first(): Value | undefined {
    return this.#values[this.#head]
  }

  shift(): Value | undefined {
    if (this.size === 0) return undefined
    const value = this.#values[this.#head]
    this.#head += 1
    // Cut when half of it is gone, so that the cutting costs little per value.
    if (this.#head >= slack && this.#head * 2 >= this.#values.length) {
      this.#values = this.#values.slice(this.#head)
      this.#head = 0
    }
    return value
  }
}
