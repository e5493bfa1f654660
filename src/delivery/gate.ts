/**
 * Who may send at the same time in one process. Ordinary sends share it; the lone sending of a message that is suspected
 * to kill the process has it to itself, so that a death can be laid at its door. First come, first served: neither side
 * starves. All worker runners of a process must have the same one.
 */
export interface Gate {
  shared<T>(work: () => Promise<T>): Promise<T>
  exclusive<T>(work: () => Promise<T>): Promise<T>
}

export function createGate(): Gate {
  let inside = 0
  let alone = false
  const line: { readonly alone: boolean; enter(): void }[] = []

  return { shared: (work) => pass(false, work), exclusive: (work) => pass(true, work) }

  async function pass<T>(wantsAlone: boolean, work: () => Promise<T>): Promise<T> {
    if (line.length > 0 || !fits(wantsAlone)) {
      await new Promise<void>((enter) => line.push({ alone: wantsAlone, enter }))
    } else {
      take(wantsAlone)
    }
    try {
      return await work()
    } finally {
      inside -= 1
      alone = false
      admit()
    }
  }

  function fits(wantsAlone: boolean): boolean {
    return wantsAlone ? inside === 0 : !alone
  }

  function take(wantsAlone: boolean): void {
    inside += 1
    alone = wantsAlone
  }

  function admit(): void {
    for (let next = line[0]; next !== undefined && fits(next.alone); next = line[0]) {
      line.shift()
      take(next.alone)
      next.enter()
    }
  }
}

/** At most `count` pieces of work at once, in the order in which they came. */
export interface Slots {
  run<T>(work: () => Promise<T>): Promise<T>
}

export function createSlots(count: number): Slots {
  let free = count
  const line: (() => void)[] = []
  return {
    async run(work) {
      if (free > 0) free -= 1
      else await new Promise<void>((enter) => line.push(enter))
      try {
        return await work()
      } finally {
        // The slot goes to the next in line without being free in between.
        const next = line.shift()
        if (next === undefined) free += 1
        else next()
      }
    },
  }
}
