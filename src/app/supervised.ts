import { environment } from '../secrets/environment.ts'

const mark = 'SLUICE_SUPERVISED'

/** What the supervisor adds to a child's environment, so that it knows it has one. (Others that start us may open a channel too.) */
export const supervisedEnvironment = { [mark]: '1' } as const

/** Whether a supervisor of ours has started this process. */
export function isSupervised(): boolean {
  return environment()[mark] === '1' && process.send !== undefined
}
